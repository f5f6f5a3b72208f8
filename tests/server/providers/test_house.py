from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from tests.conftest import LiveApp
from tests.observe import eventually
from tests.server.providers.scripted import error, request

from maloca.client.engine import EngineClient
from maloca.core.completer import collect
from maloca.core.errors import MalocaError
from maloca.server.accounts.principal import Principal
from maloca.server.db.base import Base
from maloca.server.db.database import Database
from maloca.server.providers import repository, service
from maloca.server.providers.base import KeyRefused
from maloca.server.providers.breaker import Pass
from maloca.server.providers.house import Providers
from maloca.server.providers.models import ProviderConfig
from maloca.server.providers.schemas import ModelRead, ProvidersUpdate
from maloca.server.providers.settings import ProviderSettings

KEY = SecretStr("sk-canary-1")
NOWHERE = "http://127.0.0.1:1"


def principal(role: Any = "owner") -> Principal:
    return Principal(
        user_id="1",
        username="ana",
        role=role,
        scopes=frozenset({"inference", "admin"}),
        address="127.0.0.1",
    )


async def with_table(database: Database) -> Database:
    """Return a database that has the table, whether its migrations know it or not."""
    async with database.engine.begin() as connection:
        tables = [Base.metadata.tables[ProviderConfig.__tablename__]]
        await connection.run_sync(
            lambda sync: Base.metadata.create_all(sync, tables=tables, checkfirst=True)
        )
    return database


@pytest.fixture
async def config(database: Database) -> Database:
    return await with_table(database)


class Houses:
    """Makes houses, as the replicas of a server do."""

    def __init__(self, stack: AsyncExitStack, engine: str) -> None:
        self._stack = stack
        self._engine = engine

    async def build(self, *, engine: str | None = None, **settings: Any) -> Providers:
        found = ProviderSettings.load(**settings)
        client = await self._stack.enter_async_context(EngineClient(engine or self._engine))
        house = Providers(found, engine=client, total_timeout=30, reread=lambda: self.reread)
        return await self._stack.enter_async_context(house)

    reread = ProviderSettings.load()


@pytest.fixture
async def houses(live_engine: LiveApp) -> AsyncIterator[Houses]:
    async with AsyncExitStack() as stack:
        yield Houses(stack, live_engine.url)


async def change(database: Database, role: Any = "owner", **what: Any) -> None:
    async with database.write() as session:
        await service.change(session, ProvidersUpdate(**what), by=principal(role))


def names(house: Providers) -> list[str]:
    return [link.provider.name for link in house.links()]


async def test_what_lacks_its_key_or_url_is_not_in_the_chain(houses: Houses) -> None:
    assert names(await houses.build()) == ["engine", "extractive"]
    house = await houses.build(
        engine_enabled=False,
        standby_url=NOWHERE,
        openai_api_key=KEY,
        anthropic_api_key=KEY,
        provider="claude",
    )
    assert names(house) == ["anthropic", "standby", "openai", "extractive"]
    # A service of the owner's own may want no key.
    assert "openai" in names(await houses.build(openai_base_url="http://127.0.0.1:9/v1"))


async def test_a_key_alone_lets_nothing_out(houses: Houses) -> None:
    house = await houses.build(engine=NOWHERE, openai_api_key=KEY)
    with pytest.raises(MalocaError) as caught:
        await collect(house.complete(request(privacy="cloud-allowed")))
    assert caught.value.info.code == "engine_unreachable"
    [read] = [read for read in ModelRead.of(house).chain if read.provider == "openai"]
    assert (read.state, read.reason) == ("refused", "egress_off")


async def test_a_change_reaches_every_replica_within_a_second(
    houses: Houses, config: Database
) -> None:
    one, two = await houses.build(openai_api_key=KEY), await houses.build(openai_api_key=KEY)
    one.start(config)
    two.start(config)
    await change(config, chain=["extractive", "engine"], models={"engine": "fake"}, egress=True)

    async def followed() -> bool:
        return all(house.choice.version == 1 for house in (one, two))

    await eventually(followed, seconds=5)
    for house in (one, two):
        assert names(house) == ["extractive", "engine"]
        assert house.choice.egress
        assert house.links()[1].provider.model == "fake"
        answer = await collect(house.complete(request()))
        assert answer.started.answered_by == "engine"
        assert [skipped.reason for skipped in answer.started.skipped] == ["no_passages"]


async def test_changes_at_the_same_time_all_count(config: Database) -> None:
    await asyncio.gather(*(change(config, models={"engine": f"m{n}"}) for n in range(8)))
    async with config.read() as session:
        found = await repository.get_config(session)
        assert found is not None
        assert (found.version, found.updated_by) == (8, "ana")
        assert await repository.get_version(session) == 8


async def test_a_change_of_something_outdated_is_refused(config: Database) -> None:
    await change(config, version=0, egress=False)
    with pytest.raises(service.ConfigChanged) as caught:
        await change(config, version=0, egress=False)
    assert caught.value.info.status == 409
    async with config.read() as session:
        assert await repository.get_version(session) == 1


async def test_only_the_owner_lets_conversations_out(config: Database) -> None:
    with pytest.raises(MalocaError) as caught:
        await change(config, role="admin", egress=True)
    assert (caught.value.info.status, caught.value.info.code) == (403, "owner_only")
    await change(config, role="admin", egress=False)


async def test_what_nobody_changed_stays_with_the_settings(
    houses: Houses, config: Database
) -> None:
    house = await houses.build(egress=True, openai_api_key=KEY, openai_model="gpt-own")
    await change(config, models={"openai": "gpt-other"})
    await house.follow(config)
    assert house.choice.egress
    openai = house.link("openai")
    assert openai is not None
    assert openai.provider.model == "gpt-other"
    async with config.write() as session:
        (await repository.lock_config(session)).models = {}
        (await repository.lock_config(session)).version = 2
    await house.follow(config)
    assert openai.provider.model == "gpt-own"


async def test_a_new_key_lifts_a_refusal(houses: Houses, config: Database) -> None:
    house = await houses.build(openai_api_key=KEY, egress=True)
    link = house.link("openai")
    assert link is not None
    admitted = link.breaker.admit(link.provider.secret)
    assert isinstance(admitted, Pass)
    admitted.failed(KeyRefused("No.").info)
    assert house.state(link) == ("disabled", "provider_refuses_key")
    houses.reread = ProviderSettings.load(openai_api_key=SecretStr("sk-canary-2"))
    await change(config)
    await house.follow(config)
    renewed = house.link("openai")
    assert renewed is not None
    assert renewed.provider.secret == "sk-canary-2"  # noqa: S105 - made up
    assert house.state(renewed)[0] != "disabled"


async def test_a_selected_model_that_is_not_there_is_only_a_warning(houses: Houses) -> None:
    house = await houses.build(model="not-here")
    assert house.links()[0].provider.model == "not-here"
    # Whether the check or a request comes first.
    assert (await collect(house.complete(request()))).started.model == "fake"
    assert house.links()[0].provider.model == "default"
    checked = await houses.build(model="not-here")
    await checked.check()
    assert checked.links()[0].provider.model == "default"
    named = dataclasses.replace(request(), model="not-here")
    with pytest.raises(MalocaError, match="not-here"):
        await collect(house.complete(named))
    there = await houses.build(model="fake")
    await there.check()
    assert (await collect(there.complete(request()))).started.model == "fake"
    aliases = {model.name: model.aliases for model in await there.models()}
    assert aliases["fake"] == ["default"]


async def test_the_first_providers_model_is_the_default_one(houses: Houses) -> None:
    house = await houses.build(openai_base_url="http://127.0.0.1:9/v1", provider="openai")
    aliases = {model.name: model.aliases for model in await house.models()}
    assert aliases["gpt-5.4-mini"] == ["default"]
    assert "default" not in aliases["fake"]
    alone = await houses.build(
        engine=NOWHERE, openai_base_url="http://127.0.0.1:9/v1", provider="openai"
    )
    assert [model.name for model in await alone.models()] == ["gpt-5.4-mini"]


async def test_checks_tell_how_everybody_is_and_never_fail(houses: Houses) -> None:
    house = await houses.build(standby_url=NOWHERE, openai_base_url="http://127.0.0.1:9/v1")
    before = {link.provider.name: house.state(link)[0] for link in house.links()}
    assert set(before.values()) == {"unknown"}
    await house.check()
    states = {link.provider.name: house.state(link) for link in house.links()}
    assert states["engine"] == ("ready", None)
    assert states["standby"] == ("down", "engine_unreachable")
    assert states["openai"] == ("down", "provider_unreachable")
    engine = house.link("engine")
    assert engine is not None
    for _ in range(3):
        engine.breaker.force().failed(error(500).info)
    assert house.state(engine) == ("open", "broken")


async def test_a_database_that_is_gone_changes_nothing_until_it_is_back(
    houses: Houses, config: Database
) -> None:
    house = await houses.build()
    async with config.engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE provider_config")
    with pytest.raises(SQLAlchemyError):
        await house.follow(config)
    house.start(config)
    await asyncio.sleep(0.1)
    assert (await collect(house.complete(request()))).started.answered_by == "engine"
    await with_table(config)
    await change(config, chain=["extractive", "engine"])

    async def followed() -> bool:
        return names(house) == ["extractive", "engine"]

    await eventually(followed, seconds=5)
