"""Secrets stay where they belong: not in logs, errors, or what objects show of themselves."""

from __future__ import annotations

import logging

import pytest
import structlog
from pydantic import BaseModel
from tests.server.accounts.conftest import SECRET, House, bearer, log_in

from maloca.server.accounts import schemas, sessions
from maloca.server.accounts.credentials import Credential

CANARY = "canario-amarillo-7351"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that anything logs, down to the statements of the database."""
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    caplog.set_level(logging.DEBUG)
    # A service's own logging keeps this one down at every level: see `logs.configure`.
    caplog.set_level(logging.WARNING, "aiosqlite")
    return caplog


@pytest.fixture(autouse=True)
def _reset() -> object:
    yield
    structlog.reset_defaults()


async def test_secrets_reach_no_log_and_no_answer(
    owned: House, logged: pytest.LogCaptureFixture
) -> None:
    await owned.add("eva", password=CANARY)
    client = owned.client()
    tokens = (await log_in(client, "eva", CANARY)).json()
    headers = bearer(tokens["access_token"])
    made = await client.post("/auth/api-keys", json={"name": "x"}, headers=headers)
    key = made.json()["key"]
    browser = owned.client()
    await browser.post("/auth/sessions", json={"username": "eva", "password": CANARY})
    secrets = [CANARY, SECRET, key, *browser.cookies.values()]
    secrets += [tokens["access_token"], tokens["refresh_token"]]
    answers = [
        await log_in(client, CANARY, CANARY),
        await log_in(client, "eva", CANARY + "x"),
        await client.post("/auth/login", data={"username": "eva", "password": [CANARY, CANARY]}),
        await client.post("/auth/login", json={"username": "eva", "password": CANARY}),
        await client.post("/auth/register", json={"username": "eva", "password": CANARY}),
        await client.post("/auth/register", json={"username": "eva", "password": CANARY * 400}),
        await client.post("/auth/register", json={"password": CANARY}),
        await client.post("/auth/refresh", json={"refresh_token": CANARY}),
        await client.post("/auth/setup", json={"token": CANARY, "username": "x", "password": "y"}),
        await client.get("/ask", headers=bearer(CANARY)),
        await client.get("/ask", headers=bearer("mlk_" + CANARY)),
        await client.get("/ask", headers=bearer(tokens["access_token"][:-3])),
        await client.get("/auth/me", headers=headers),
        await client.get("/auth/api-keys", headers=headers),
        await client.get("/auth/sessions", headers=headers),
        await client.get("/auth/me/export", headers=headers),
        await (await owned.sign_in("olga")).get("/admin/api/audit"),
    ]
    shown = logged.text + "".join(answer.text for answer in answers)
    shown += "".join(str(record.__dict__) for record in logged.records)
    for secret in secrets:
        assert secret not in shown, secret


async def test_a_defect_shows_no_secret(
    owned: House, logged: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(sessions, "check_password", fail)
    answer = await log_in(owned.client(), "ana", CANARY)
    assert answer.status_code == 500
    assert "a defect" in logged.text
    assert CANARY not in logged.text + answer.text


def test_nothing_with_a_secret_shows_it() -> None:
    things: list[object] = [
        Credential("api_key", CANARY),
        sessions.Client(address="", device=CANARY),
        sessions.Tokens(CANARY, CANARY),
        schemas.RegisterRequest(username="ana", password=CANARY, invitation=CANARY),
        schemas.SetupRequest(token=CANARY, username="ana", password=CANARY),
        schemas.LoginForm(username="ana", password=CANARY),
        schemas.BrowserLoginRequest(username="ana", password=CANARY),
        schemas.RefreshRequest(refresh_token=CANARY),
        schemas.PasswordChange(current_password=CANARY, new_password=CANARY),
        schemas.PasswordConfirmation(password=CANARY),
    ]
    for thing in things:
        for text in (repr(thing), str(thing), f"{thing}", repr([thing])):
            assert CANARY not in text
            assert type(thing).__name__ in text


def test_every_body_with_a_secret_hides_itself() -> None:
    hidden = {"password", "token", "current_password", "new_password", "refresh_token"}
    bodies = [
        each
        for each in vars(schemas).values()
        if isinstance(each, type)
        and issubclass(each, BaseModel)
        and each.__name__.endswith(("Request", "Form", "Change", "Confirmation"))
    ]
    assert len(bodies) >= 7
    for body in bodies:
        assert hidden & set(body.model_fields), body
        assert body.__repr__ is schemas._Hidden.__repr__, body
