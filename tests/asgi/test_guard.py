from __future__ import annotations

import pytest
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send
from tests.asgi.drive import Exchange, call, scope_of

from maloca.asgi.guard import Guard

TOKEN = "ñandú-secreto-largo"  # noqa: S105 - made up
LATIN = TOKEN.encode().decode("latin-1")


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 to whoever gets past the guard."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


GUARD = Guard(inside, allowed_hosts=["My.Box", "10.0.0.7"])
LOCKED = Guard(inside, allowed_hosts=[], token=SecretStr(TOKEN))


async def ask(guard: Guard, *headers: tuple[str, str], path: str = "/v1/models") -> Exchange:
    return await call(guard, scope_of("POST", path, headers))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1",
        "127.0.0.1:8001",
        "127.3.2.1",
        "[::1]",
        "[::1]:8000",
        "my.box",
        "MY.BOX:443",
        "10.0.0.7:8000",
    ],
)
async def test_our_own_names_are_served(host: str) -> None:
    assert (await ask(GUARD, ("host", host))).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.localhost",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "127.0.0.1.nip.io:8000",
        "0.0.0.0",  # noqa: S104 - must be refused
        "0x7f000001",
        "192.168.1.9",
        "my.box.evil.com",
        "[::1",
        "[::2]",
        "",
        " ",
        "localhost\x00.evil.com",
        "ñ.com",
    ],
)
async def test_strange_hosts_are_refused_by_name_with_the_way_out(host: str) -> None:
    exchange = await ask(GUARD, ("host", host))
    assert exchange.status == 403
    assert exchange.error["code"] == "host_not_allowed"
    assert "MALOCA_ALLOWED_HOSTS" in exchange.error["hint"]


async def test_a_missing_host_is_refused() -> None:
    assert (await ask(GUARD)).status == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("my.box", "https://my.box"),
        ("My.Box", "https://my.box"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
async def test_our_own_pages_may_call(host: str, origin: str) -> None:
    assert (await ask(GUARD, ("host", host), ("origin", origin))).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.com",
        "http://localhost:9999",
        "http://127.0.0.1:8000",
        "http://localhost:8000.evil.com",
        "http://evil@localhost:8000",
        "file://",
        "chrome-extension://localhost:8000",
        "null",
        "",
        "http://[::1",
    ],
)
async def test_pages_of_strangers_are_refused(origin: str) -> None:
    exchange = await ask(GUARD, ("host", "localhost:8000"), ("origin", origin))
    assert exchange.status == 403
    assert exchange.error["code"] == "origin_not_allowed"


@pytest.mark.parametrize("header", [f"Bearer {LATIN}", f"bearer {LATIN}", f"BEARER   {LATIN} "])
async def test_the_token_opens(header: str) -> None:
    exchange = await ask(LOCKED, ("host", "localhost"), ("authorization", header))
    assert exchange.status == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", LATIN, f"Basic {LATIN}", f"Bearer {LATIN}x"],
)
@pytest.mark.parametrize("path", ["/", "/v1/models", "/metrics", "/docs", "/health/../v1/models"])
async def test_nothing_else_does(path: str, header: str | None) -> None:
    given = [] if header is None else [("authorization", header)]
    exchange = await ask(LOCKED, ("host", "localhost"), *given, path=path)
    assert exchange.status == 401
    assert exchange.error["type"] == "authentication_error"
    assert TOKEN not in exchange.body.decode()


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
async def test_health_needs_no_token_but_a_known_host(path: str) -> None:
    assert (await ask(LOCKED, ("host", "localhost"), path=path)).status == 200
    assert (await ask(LOCKED, ("host", "evil.com"), path=path)).status == 403


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ([("host", "localhost")], "websocket.accept"),
        ([("host", "localhost"), ("origin", "http://localhost")], "websocket.accept"),
        ([("host", "evil.com")], "websocket.close"),
        ([("host", "localhost"), ("origin", "http://evil.com")], "websocket.close"),
    ],
)
async def test_websockets_are_judged_too(headers: list[tuple[str, str]], answer: str) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await GUARD(scope_of(headers=headers, type="websocket"), receive, send)
    assert [message["type"] for message in sent] == [answer]
