"""Engines that break off, hang, say nonsense, or are no engines at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Any

import pytest
from tests.client.asking import ask, request
from tests.client.raw_server import Answer, chunked, plain, raw

from maloca.client import engine as client_module
from maloca.client.engine import EngineClient
from maloca.core.budget import Budget
from maloca.core.completer import EmbeddingRequest, collect
from maloca.core.errors import MalocaError
from maloca.core.events import Cancelled, Delta, Event, Failed, Started

STARTED = b'data: {"event":"started","id":"1","model":"m","created":1,"prompt_tokens":2}\n\n'
DELTA = b'data: {"event":"delta","text":"hola"}\n\n'
CANCELLED = b'data: {"event":"cancelled","reason":"x"}\n\n'


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def say_nothing(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (chunked(STARTED, DELTA), [Started, Delta, Failed]),
        (chunked(STARTED, DELTA, end=False), [Started, Delta, Failed]),
        (chunked(STARTED, DELTA[:-5], end=False), [Started, Failed]),
        (chunked(STARTED, b"data: {not json}\n\n", DELTA), [Started, Failed]),
        (chunked(STARTED, b'data: {"event":"unheard-of"}\n\n'), [Started, Failed]),
        (chunked(STARTED, b'data: {"event":"delta","text":5}\n\n'), [Started, Failed]),
        (chunked(STARTED, b'data: {"event":"delta","text":"\xff"}\n\n'), [Started, Failed]),
        (chunked(STARTED, DELTA, CANCELLED, DELTA), [Started, Delta, Cancelled]),
        (chunked(STARTED, b": keep-alive\n\n", CANCELLED, end=False), [Started, Cancelled]),
        (chunked(), [Failed]),
        (chunked(b"<html>hello</html>"), [Failed]),
    ],
)
async def test_however_a_stream_ends_there_is_one_terminal_event(
    answer: Answer, kinds: list[type[Event]]
) -> None:
    async with raw(answer) as server, EngineClient(server.url) as client:
        events = await ask(client, request())
    assert [type(event) for event in events] == kinds
    if isinstance(events[-1], Failed):
        assert (events[-1].error.code, events[-1].error.status) == ("stream_broken", 503)


@pytest.mark.parametrize(
    "answer", [hang_up, chunked(end=False), chunked(b"data: {\n\n"), plain(200, b"data: 7\n\n")]
)
async def test_a_stream_that_breaks_before_it_starts_raises_or_fails_with_503(
    answer: Answer,
) -> None:
    async with raw(answer) as server, EngineClient(server.url) as client:
        with pytest.raises(MalocaError) as caught:
            await collect(client.complete(request()))
    assert caught.value.info.status == 503


@pytest.mark.parametrize(
    ("answer", "status", "code", "retry_after"),
    [
        (plain(500, b"<h1>Oops</h1>"), 500, "engine_error", None),
        (plain(404, b"not found"), 502, "engine_error", None),
        (plain(418, b'{"error": "tea"}'), 502, "engine_error", None),
        (plain(422, b'{"error": {"message": "m"}}'), 502, "engine_error", None),
        (plain(503, b"[]"), 503, "engine_error", None),
        (plain(500, b"\xff"), 500, "engine_error", None),
        (
            plain(429, b'{"error":{"message":"m","type":"t","code":"c"}}', b"Retry-After: 7\r\n"),
            429,
            "c",
            7.0,
        ),
        (
            plain(429, b'{"error":{"message":"m","type":"t","code":"c"}}', b"Retry-After: x\r\n"),
            429,
            "c",
            None,
        ),
    ],
)
async def test_error_bodies_of_any_kind(
    answer: Answer, status: int, code: str, retry_after: float | None
) -> None:
    async with raw(answer) as server, EngineClient(server.url) as client:
        for call in (
            ask(client, request()),
            client.embed(EmbeddingRequest(model="m", texts=["a"])),
            client.models(),
        ):
            with pytest.raises(MalocaError) as caught:
                await call
            info = caught.value.info
            assert (info.status, info.code, info.retry_after) == (status, code, retry_after)


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"a": 1}', b"", b"\xff"])
async def test_something_else_at_the_url_is_told(body: bytes) -> None:
    async with raw(plain(200, body)) as server, EngineClient(server.url) as client:
        calls: list[Awaitable[Any]] = [
            client.embed(EmbeddingRequest(model="m", texts=["a"])),
            client.models(),
            client.tokenize("m", "a"),
        ]
        if not body.startswith(b"{"):
            calls.append(client.health())
        for call in calls:
            with pytest.raises(MalocaError, match=server.url) as caught:
                await call
            assert caught.value.info.code == "engine_unreachable"


async def test_nobody_there_says_how_to_start_it() -> None:
    async with EngineClient("http://127.0.0.1:1") as client:
        for call in (ask(client, request()), client.models(), client.health()):
            with pytest.raises(MalocaError) as caught:
                await call
            info = caught.value.info
            assert (info.status, info.code) == (503, "engine_unreachable")
            assert "127.0.0.1:1" in info.message
            assert "maloca up" in (info.hint or "")


async def test_the_budget_travels_as_what_remains() -> None:
    async with raw(chunked(STARTED, CANCELLED)) as server, EngineClient(server.url) as client:
        await ask(client, request(budget=Budget.of_ms(5000), id="trace-1"))
        await ask(client, request())
    with_budget, without = server.requests
    headers = dict(line.split(": ", 1) for line in with_budget.split("\r\n")[1:-2])
    assert 4000 < int(headers["X-Maloca-Budget-Ms"]) <= 5000
    assert headers["X-Request-Id"] == "trace-1"
    assert "X-Maloca-Budget-Ms" not in without


@pytest.mark.parametrize("answer", [say_nothing, chunked(STARTED, end=False)])
async def test_an_engine_that_hangs_does_not_outlast_the_budget(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_GRACE_SECONDS", 0.1)

    async def then_nothing(writer: asyncio.StreamWriter) -> None:
        await answer(writer)
        await asyncio.sleep(30)

    async with raw(then_nothing) as server, EngineClient(server.url) as client:
        with pytest.raises(MalocaError) as caught:
            await asyncio.wait_for(
                collect(client.complete(request(budget=Budget.of_ms(100)))), timeout=20
            )
    assert caught.value.info.status in {503, 504}


async def test_connections_are_used_again() -> None:
    answer = chunked(STARTED, DELTA, CANCELLED)
    async with raw(answer, keep=True) as server, EngineClient(server.url) as client:
        for _ in range(5):
            async with aclosing(client.complete(request())) as stream:
                async for event in stream:
                    if isinstance(event, Cancelled):
                        break  # As a server does, which stops at the terminal event.
        assert len(server.requests) == 5
        assert server.connections == 1
