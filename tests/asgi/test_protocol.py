"""What the HTTP protocol refuses before an app sees it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from maloca.asgi import protocol
from maloca.asgi.listening import listen
from maloca.asgi.protocol import HEAD_BYTES, BoundedProtocol

PLAIN = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(
        app, http=BoundedProtocol, log_config=None, lifespan="off", ws="none", loop="none"
    )
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


async def ask(port: int, *pieces: bytes) -> tuple[int, Any]:
    """Send the pieces one after the other; return the status and the JSON body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body else None


async def test_an_ordinary_request_passes(port: int) -> None:
    assert await ask(port, PLAIN) == (204, None)
    assert await ask(port, PLAIN[:9], PLAIN[9:30], PLAIN[30:]) == (204, None)


async def test_large_headers_that_fit_pass(port: int) -> None:
    value = b"x" * (HEAD_BYTES - 1000)
    assert await ask(port, b"GET / HTTP/1.0\r\nX-Large: " + value + b"\r\n\r\n") == (204, None)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX-Large: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEAD_BYTES // 5) + b"\r\n",
    ],
    ids=["a header", "the target", "many headers"],
)
async def test_too_large_a_head_is_refused(port: int, head: bytes) -> None:
    assert await ask(port, head) == (
        431,
        {
            "error": {
                "message": "The headers are over 65536 bytes.",
                "type": "invalid_request_error",
                "code": "headers_too_large",
                "param": None,
                "hint": None,
            }
        },
    )


async def test_a_header_without_end_does_not_fill_the_memory(port: int) -> None:
    status, _ = await ask(port, b"GET / HTTP/1.1\r\nA: ", *[b"x" * 16_000] * 6)
    assert status == 431


async def test_what_is_not_http_is_refused_in_the_error_shape(port: int) -> None:
    status, body = await ask(port, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert (status, body["error"]["code"]) == (400, "invalid_http")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: local"])
async def test_a_head_that_does_not_come_ends_the_connection(
    port: int, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)
    status, body = await ask(port, start)
    assert (status, body["error"]["code"]) == (408, "request_timeout")
