from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from tests.conftest import LiveApp
from tests.server.providers.scripted import request
from tests.server.providers.test_house import KEY, NOWHERE, principal, with_table

from maloca.asgi.application import new_app
from maloca.client.engine import EngineClient
from maloca.core.completer import collect
from maloca.core.settings import Settings
from maloca.server.accounts import dependencies
from maloca.server.accounts.errors import Unauthenticated
from maloca.server.accounts.principal import Principal
from maloca.server.db.database import Database
from maloca.server.providers import endpoints
from maloca.server.providers.house import Providers
from maloca.server.providers.metrics import ProviderMetrics
from maloca.server.providers.settings import ProviderSettings

ADMIN = "/admin/api/providers"


class App:
    """The routes over one house, asked by whoever the test says."""

    def __init__(self, http: httpx.AsyncClient, house: Providers) -> None:
        self.http = http
        self.house = house

    async def call(
        self, method: str, path: str, body: Any = None, *, role: str = "owner"
    ) -> httpx.Response:
        return await self.http.request(method, path, json=body, headers={"X-Test-Role": role})


def _principal(request: Request) -> Principal:
    role = request.headers["X-Test-Role"]
    if role == "anonymous":
        raise Unauthenticated("This needs an account.")
    return principal(role)


@asynccontextmanager
async def serving(database: Database, engine: str, **settings: Any) -> AsyncIterator[App]:
    registry = CollectorRegistry()
    found = ProviderSettings.load(**settings)
    async with (
        EngineClient(engine) as client,
        Providers(
            found, engine=client, total_timeout=30, metrics=ProviderMetrics(registry)
        ) as house,
    ):
        app = new_app(
            title="Providers",
            description="Providers.",
            settings=Settings.load(),
            registry=registry,
            lifespan=lambda _: AsyncExitStack(),
        )
        app.include_router(endpoints.router)
        app.dependency_overrides[dependencies.principal] = _principal
        transport = httpx.ASGITransport(app=_WithState(app, house, database))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield App(http, house)


class _WithState:
    def __init__(self, app: FastAPI, house: Providers, database: Database) -> None:
        self._app, self._state = app, {"providers": house, "database": database}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope | {"state": dict(self._state)}, receive, send)


@pytest.fixture
async def app(database: Database, live_engine: LiveApp) -> AsyncIterator[App]:
    async with serving(
        await with_table(database), live_engine.url, openai_api_key=KEY, standby_url=NOWHERE
    ) as app:
        yield app


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/model", {"model_name": "fake"}),
    ("GET", ADMIN, None),
    ("PUT", ADMIN, {"egress": False}),
]


async def test_administration_is_for_administrators(app: App) -> None:
    for method, path, body in CHANGES:
        for role, expected in (
            ("anonymous", (401, "unauthenticated")),
            ("user", (403, "admins_only")),
        ):
            response = await app.call(method, path, body, role=role)
            assert error_of(response)[:2] == expected
    assert app.house.choice.version == 0
    for method, path, body in CHANGES:
        assert (await app.call(method, path, body, role="admin")).status_code == 200


async def test_the_model_and_its_chain_are_told(app: App) -> None:
    await app.house.check()
    read = (await app.call("GET", "/model", role="user")).json()
    assert (read["model"], read["provider"], read["egress"]) == ("default", "engine", False)
    states = {p["provider"]: (p["state"], p["reason"]) for p in read["chain"]}
    assert states == {
        "engine": ("ready", None),
        "standby": ("down", "engine_unreachable"),
        "openai": ("refused", "egress_off"),
        "extractive": ("ready", None),
    }
    assert NOWHERE not in str(read)
    assert KEY.get_secret_value() not in str(read)


async def test_a_selected_model_answers_from_the_next_request_on(app: App) -> None:
    read = (await app.call("POST", "/model", {"model_name": "fake", "provider": "hf"})).json()
    assert (read["model"], read["provider"]) == ("fake", "engine")
    assert (await collect(app.house.complete(request()))).started.model == "fake"
    assert (await app.call("GET", ADMIN)).json()["models"] == {"engine": "fake"}


REFUSED: list[tuple[dict[str, Any], tuple[int, str, str | None]]] = [
    ({"model_name": "none"}, (404, "model_not_found", "model_name")),
    ({"model_name": "fake-embedding"}, (404, "model_not_found", "model_name")),
    ({"model_name": "gpt", "provider": "openai"}, (403, "egress_off", None)),
    ({"model_name": "m", "provider": "claude"}, (422, "invalid_request", "provider")),
    ({"model_name": "m", "provider": "gemini"}, (422, "invalid_request", "provider")),
    ({"model_name": ""}, (422, "invalid_request", "model_name")),
    ({"model_name": "m", "base_url": "http://x"}, (422, "invalid_request", "base_url")),
    ({}, (422, "invalid_request", "model_name")),
]


async def test_a_model_that_cannot_answer_is_not_selected(app: App) -> None:
    for body, expected in REFUSED:
        assert error_of(await app.call("POST", "/model", body)) == expected
    assert app.house.choice.version == 0


async def test_a_cloud_is_selected_once_the_owner_allows_it(app: App) -> None:
    refused = await app.call("PUT", ADMIN, {"egress": True}, role="admin")
    assert error_of(refused)[:2] == (403, "owner_only")
    assert (await app.call("PUT", ADMIN, {"egress": True})).json()["egress"] is True
    selected = await app.call(
        "POST", "/model", {"model_name": "gpt-x", "provider": "openai"}, role="admin"
    )
    read = selected.json()
    assert (read["model"], read["provider"]) == ("gpt-x", "openai")
    assert [p["provider"] for p in read["chain"]] == ["openai", "engine", "standby", "extractive"]


async def test_the_chain_is_changed_whole_and_once(app: App) -> None:
    changed = await app.call("PUT", ADMIN, {"version": 0, "chain": ["extractive", "hf"]})
    read = changed.json()
    assert (read["version"], read["chain"]) == (1, ["extractive", "engine"])
    stale = await app.call("PUT", ADMIN, {"version": 0, "chain": ["engine"]})
    assert error_of(stale) == (409, "config_changed", "version")
    for bad in ([], ["engine", "hf"], ["nobody"], "engine", [7]):
        assert (await app.call("PUT", ADMIN, {"chain": bad})).status_code == 422
    assert (await app.call("GET", ADMIN)).json()["version"] == 1


async def test_a_dead_engine_takes_nothing_from_the_administration(database: Database) -> None:
    async with serving(await with_table(database), NOWHERE) as app:
        assert (await app.call("GET", "/model")).status_code == 200
        assert (await app.call("PUT", ADMIN, {"egress": True})).status_code == 200
        unknown = await app.call("POST", "/model", {"model_name": "fake"})
        assert error_of(unknown)[:2] == (503, "engine_unreachable")


async def test_attempts_and_breakers_are_counted(app: App) -> None:
    await collect(app.house.complete(request()))
    standby = app.house.complete(request(provider="standby"))
    with pytest.raises(Exception, match="cannot be reached"):
        await collect(standby)
    text = (await app.call("GET", "/metrics")).text
    assert 'maloca_provider_attempts_total{outcome="ok",provider="engine"} 1.0' in text
    assert 'outcome="engine_unreachable",provider="standby"} 1.0' in text
    assert 'maloca_provider_breaker{provider="engine",state="closed"} 1.0' in text
    assert 'maloca_provider_breaker{provider="engine",state="open"} 0.0' in text
