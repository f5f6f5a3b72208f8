"""Every route of the whole server, asked by everybody who should not be let in.

A new route is refused to them by default, or is named here as open with its reason.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update
from tests.conftest import LiveApp, serve
from tests.server.accounts.conftest import PASSWORD, SECRET

from maloca.server.accounts import administration
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.models import ApiKey
from maloca.server.accounts.principal import Role
from maloca.server.accounts.tokens import TokenSigner
from maloca.server.app import create_app
from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.settings import ServerSettings

pytestmark = pytest.mark.process

OPEN = {
    "GET /health",  # Monitors have no account.
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",  # This machine may; another one is tested where it is guarded.
    "POST /auth/register",  # How accounts begin …
    "POST /auth/setup",
    "POST /auth/login",  # … and how one signs in.
    "POST /auth/sessions",
    "POST /auth/refresh",
}


class Strangers:
    """A running server with an owner, and the headers of those who are to be refused."""

    def __init__(self, live: LiveApp) -> None:
        self.live = live
        self.client = httpx.Client(base_url=live.url, timeout=30)
        self.headers: dict[str, dict[str, str]] = {"anonymous": {}}

    def routes(self) -> list[tuple[str, str]]:
        """Return each operation of the OpenAPI document, its parameters filled in."""
        paths = self.client.get("/openapi.json").json()["paths"]
        return [
            (method.upper(), path)
            for path, operations in paths.items()
            for method in operations
            if f"{method.upper()} {path}" not in OPEN
        ]

    def ask(self, method: str, path: str, who: str) -> int:
        filled = path.replace("{", "").replace("}", "")
        return self.client.request(method, filled, headers=self.headers[who]).status_code

    def log_in(self, name: str) -> str:
        form = {"username": name, "password": PASSWORD}
        token: str = self.client.post("/auth/login", data=form).json()["access_token"]
        return token

    def key(self, token: str, *scopes: str) -> tuple[str, str]:
        made = self.client.post(
            "/auth/api-keys", json={"name": "x", "scopes": scopes}, headers=bearer(token)
        ).json()
        return made["id"], made["key"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def strangers(
    live_engine: LiveApp, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Strangers]:
    folder: Path = tmp_path_factory.mktemp("house")
    settings = ServerSettings.load(
        port=0,
        engine_url=live_engine.url,
        database_url=f"sqlite:///{folder / 'maloca.db'}",
        secret_key=SECRET,
    )

    async def add(*people: tuple[str, Role]) -> dict[str, str]:
        async with aclosing(Database(settings.database)) as database:
            accounts = await Accounts.open(settings, database)
            actor = administration.COMMAND_LINE
            return {
                name: (await administration.add_user(accounts, actor, name, PASSWORD, role=role)).id
                for name, role in people
            }

    async def expire(key_id: str) -> None:
        async with aclosing(Database(settings.database)) as database, database.write() as session:
            past = now() - dt.timedelta(seconds=1)
            await session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=past))

    with serve(create_app(settings)) as live:
        found = Strangers(live)
        ids = asyncio.run(add(("olga", "owner"), ("ana", "user"), ("beto", "user")))
        olga, ana, beto = (found.log_in(name) for name in ("olga", "ana", "beto"))
        revoked_id, revoked = found.key(ana, "inference", "knowledge")
        found.client.delete(f"/auth/api-keys/{revoked_id}", headers=bearer(ana))
        expired_id, expired = found.key(olga, "inference", "knowledge", "admin")
        asyncio.run(expire(expired_id))
        _, beto_key = found.key(beto, "inference", "knowledge")
        signed_out = found.log_in("ana")
        found.client.post("/auth/logout", headers=bearer(signed_out))
        change = {"disabled": True}
        path = f"/admin/api/users/{ids['beto']}"
        assert found.client.patch(path, json=change, headers=bearer(olga)).status_code == 200
        other_house = TokenSigner("f" * 32, minutes=5).issue(ids["olga"], "0" * 24)
        found.headers |= {
            "a key of nobody": bearer("mlk_" + "0" * 40),
            "a key in the other header": {"x-api-key": "mlk_" + "0" * 40},
            "a revoked key": bearer(revoked),
            "an expired key": bearer(expired),
            "the key of a disabled account": bearer(beto_key),
            "the token of a disabled account": bearer(beto),
            "a token that signed out": bearer(signed_out),
            "a token of another house": bearer(other_house),
            "an expired token": bearer(TokenSigner(SECRET, minutes=0).issue(ids["olga"], "0" * 24)),
            "a cookie of nobody": {"Cookie": "maloca_session=mls_" + "0" * 40},
            "a proxied request": {"X-Forwarded-For": "127.0.0.1"},
            "ana": bearer(ana),
            "ana's knowledge key": bearer(found.key(ana, "knowledge")[1]),
        }
        yield found
        found.client.close()


def test_nobody_is_let_in_by_a_route_that_forgot_to_ask(strangers: Strangers) -> None:
    let_in = []
    for method, path in strangers.routes():
        for who in strangers.headers:
            if who.startswith("ana"):
                continue
            status = strangers.ask(method, path, who)
            if status not in {401, 403}:
                let_in.append(f"{who}: {method} {path} → {status}")
    assert let_in == []


def test_administration_refuses_a_user(strangers: Strangers) -> None:
    admin = [route for route in strangers.routes() if route[1].startswith("/admin/")]
    assert len(admin) >= 8
    for who in ("ana", "ana's knowledge key"):
        assert {strangers.ask(*route, who) for route in admin} == {403}


def test_inference_refuses_a_key_for_something_else(strangers: Strangers) -> None:
    for path in ("/v1/chat/completions", "/v1/embeddings", "/chats/stream", "/predict"):
        assert strangers.ask("POST", path, "ana's knowledge key") == 403, path


def test_a_user_is_let_in(strangers: Strangers) -> None:
    """The matrix would pass as well if nobody were let in at all."""
    assert strangers.ask("GET", "/auth/me", "ana") == 200
    assert strangers.ask("GET", "/v1/models", "ana") == 200


def test_what_is_open_exists(strangers: Strangers) -> None:
    paths = strangers.client.get("/openapi.json").json()["paths"]
    there = {f"{method.upper()} {path}" for path, each in paths.items() for method in each}
    assert there >= OPEN
