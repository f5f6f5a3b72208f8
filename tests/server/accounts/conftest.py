"""A house with accounts, on both databases, and clients from anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, WebSocket
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from maloca.asgi.application import new_app
from maloca.server.accounts import accounts as accounts_module
from maloca.server.accounts import admin_endpoints, administration, endpoints
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.dependencies import AdminDep, CallerDep, may_read_metrics
from maloca.server.accounts.passwords import Cost
from maloca.server.accounts.principal import Role
from maloca.server.db.database import Database
from maloca.server.settings import ServerSettings

PASSWORD = "tuyuyo-pescado-9"  # noqa: S105 - of these tests alone
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of these tests alone


class House:
    """One server process: an app over a database that it may share with others."""

    def __init__(self, settings: ServerSettings, accounts: Accounts) -> None:
        self.settings = settings
        self.accounts = accounts
        self.database = accounts.database
        self.app = new_app(
            title="Accounts",
            description="",
            settings=settings,
            registry=CollectorRegistry(),
            lifespan=lambda _: None,  # type: ignore[arg-type,return-value]  # never run here
            allowed_origins=settings.cors_origins,
            metrics_guards=[Depends(may_read_metrics)],
        )
        for router in (endpoints.router, endpoints.form_router, admin_endpoints.router):
            self.app.include_router(router)
        self.app.add_api_route("/ask", _ask, methods=["GET", "POST"])
        self.app.add_api_route("/manage", _manage)
        self.app.add_api_websocket_route("/talk", _talk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = {"accounts": self.accounts, "database": self.database}
        await self.app(scope | {"state": state}, receive, send)

    def client(
        self, address: str = "127.0.0.1", *, base: str = "http://localhost", **headers: str
    ) -> httpx.AsyncClient:
        """Return a client that connects from that address, with cookies of its own."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self, client=(address, 4711)),
            base_url=base,
            headers=headers,
        )

    async def add(self, name: str, role: Role = "user", password: str = PASSWORD) -> str:
        """Make an account without the page; return its id."""
        actor = administration.COMMAND_LINE
        made = await administration.add_user(self.accounts, actor, name, password, role=role)
        return made.id

    async def sign_in(
        self, name: str, password: str = PASSWORD, address: str = "127.0.0.1"
    ) -> httpx.AsyncClient:
        """Return a program's client that carries the access token of a new session."""
        client = self.client(address)
        tokens = (await log_in(client, name, password)).raise_for_status().json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        return client

    async def key_of(self, client: httpx.AsyncClient, **body: Any) -> tuple[str, str]:
        """Make an API key; return its id and the key."""
        made = await client.post("/auth/api-keys", json={"name": "script", **body})
        assert made.status_code == 201, made.text
        return made.json()["id"], made.json()["key"]


async def log_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/auth/login", data={"username": name, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["error"]["code"]
    return code


async def _ask(caller: CallerDep) -> str:
    return caller.tenant


async def _manage(admin: AdminDep) -> str:
    return admin.username


async def _talk(websocket: WebSocket, caller: CallerDep) -> None:
    await websocket.accept()
    await websocket.send_text(caller.tenant)
    await websocket.close()


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "measure", lambda: Cost(passes=1, memory=8))


NewHouse = Callable[..., Awaitable[House]]


@pytest.fixture
async def new_house(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[NewHouse]:
    """Makes servers on the same database: replicas, each with connections of its own."""
    monkeypatch.setenv("MALOCA_HOME", str(tmp_path / "home"))
    opened: list[Database] = []

    async def make(**settings: Any) -> House:
        chosen = ServerSettings.load(**{"secret_key": SECRET, **settings})
        own = Database(database.url)
        opened.append(own)
        return House(chosen, await Accounts.open(chosen, own))

    yield make
    for each in opened:
        await each.aclose()


@pytest.fixture
async def house(new_house: NewHouse) -> House:
    """A house that has no owner yet."""
    return await new_house()


@pytest.fixture
async def owned(house: House) -> House:
    """A house with an owner, `olga`, and two users, `ana` and `beto`."""
    await house.add("olga", "owner")
    await house.add("ana")
    await house.add("beto")
    return house
