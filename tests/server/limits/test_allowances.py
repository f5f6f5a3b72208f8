"""Whose limits hold: the key's before the user's before the role's before the default."""

from __future__ import annotations

from typing import Any

import pytest

from maloca.server.accounts.principal import Principal
from maloca.server.db.database import Database
from maloca.server.db.tables import Base
from maloca.server.limits import service
from maloca.server.limits.allowances import REFRESH_SECONDS, Allowances
from maloca.server.limits.rates import Rate
from maloca.server.limits.schemas import Kind, LimitUpdate

DEFAULT = Rate(10, 60)
ANA = Principal(
    user_id="ana",
    username="ana",
    role="user",
    scopes=frozenset({"inference"}),
    address="10.0.0.7",
    key_id="k1",
)
NOBODY = Principal(
    user_id=None, username="", role="anonymous", scopes=frozenset(), address="10.0.0.7"
)


class Clock:
    now = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowances(database: Database, clock: Clock) -> Allowances:
    return Allowances(database, predict=DEFAULT, tokens_per_day=1000, clock=lambda: clock.now)


async def put(database: Database, kind: Kind, name: str, **values: Any) -> None:
    async with database.write() as session:
        await service.put(session, kind, name, LimitUpdate(**values))


async def test_the_defaults(allowances: Allowances) -> None:
    predict = await allowances.of(ANA, predict=True)
    assert (predict.rate, predict.tokens_per_day) == (DEFAULT, 1000)
    assert (await allowances.of(ANA, predict=False)).rate is None
    nobody = await allowances.of(NOBODY, predict=True)
    assert (nobody.rate, nobody.bucket) == (DEFAULT, ("ip:10.0.0.7", "predict"))


async def test_the_narrower_wins_and_each_field_by_itself(
    database: Database, allowances: Allowances
) -> None:
    await put(database, "role", "user", requests=1, window_seconds=1, tokens_per_day=1)
    await put(database, "user", "ana", requests=2, window_seconds=2)
    await put(database, "key", "k1", tokens_per_day=3)
    await put(database, "key", "another", requests=9, window_seconds=9)
    found = await allowances.of(ANA, predict=True)
    assert (found.rate, found.tokens_per_day) == (Rate(2, 2), 3)
    allowances.forget()
    await put(database, "key", "k1", requests=3, window_seconds=3)
    found = await allowances.of(ANA, predict=False)
    # The new exception is as a whole: its tokens are those of the user and role again.
    assert (found.rate, found.tokens_per_day) == (Rate(3, 3), 1)
    assert found.bucket == ("user:ana", "key:k1")


async def test_changes_of_other_replicas_come_within_seconds(
    database: Database, allowances: Allowances, clock: Clock
) -> None:
    assert (await allowances.of(ANA, predict=True)).rate == DEFAULT
    await put(database, "role", "user", requests=1, window_seconds=1)
    assert (await allowances.of(ANA, predict=True)).rate == DEFAULT
    clock.now += REFRESH_SECONDS
    assert (await allowances.of(ANA, predict=True)).rate == Rate(1, 1)


async def test_a_database_that_is_gone_leaves_what_was_known(
    database: Database, allowances: Allowances, clock: Clock
) -> None:
    await put(database, "user", "ana", requests=1, window_seconds=1)
    assert (await allowances.of(ANA, predict=True)).rate == Rate(1, 1)
    async with database.write() as session:
        connection = await session.connection()
        await connection.run_sync(Base.metadata.drop_all)
    clock.now += REFRESH_SECONDS
    assert (await allowances.of(ANA, predict=True)).rate == Rate(1, 1)
