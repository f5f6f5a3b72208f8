from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import Request
from tests.asgi.drive import Exchange, call, scope_of
from tests.streams import DONE, HANG, STARTED, USAGE, Source

from maloca.asgi import streaming
from maloca.asgi.streaming import ClientGone, EventStream, until_disconnect
from maloca.core.errors import ErrorInfo, ModelFailed, Overloaded
from maloca.core.events import Cancelled, Delta, Event, Failed
from maloca.dialects.native.routes import render
from maloca.dialects.openai.render import DONE as TAIL
from maloca.dialects.openai.render import ChatChunks

CRASH = Failed(ErrorInfo(message="gone", code="worker_crashed", status=503, retry_after=0.2))
TERMINALS = {"done", "cancelled", "failed"}


def names(body: bytes) -> list[str]:
    """Return the names of native events, in order."""
    blocks = [block for block in body.decode().split("\n\n") if block.startswith("event: ")]
    return [block.partition("\n")[0].removeprefix("event: ") for block in blocks]


async def streamed(*script: Event | Exception | str) -> Exchange:
    source = Source(*script)
    exchange = await call(EventStream(source.events(), render))
    assert source.closed
    return exchange


async def test_a_whole_stream_has_its_events_in_order_and_one_terminal() -> None:
    exchange = await streamed(STARTED, Delta("a"), Delta("b"), USAGE, DONE)
    assert exchange.status == 200
    assert exchange.headers["content-type"].startswith("text/event-stream")
    assert exchange.headers["cache-control"] == "no-store"
    assert exchange.headers["x-accel-buffering"] == "no"
    assert names(exchange.body) == ["started", "delta", "delta", "usage", "done"]
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ([CRASH], 503, "worker_crashed"),
        ([STARTED, CRASH], 503, "worker_crashed"),
        ([Overloaded("full", retry_after=3)], 429, "overloaded"),
        ([STARTED, ModelFailed("broken")], 500, "model_failed"),
        ([STARTED], 500, "stream_broken"),
        ([], 500, "stream_broken"),
    ],
)
async def test_a_failure_before_the_first_delta_has_its_status(
    script: list[Event | Exception], status: int, code: str
) -> None:
    exchange = await streamed(*script)
    assert exchange.status == status
    assert exchange.error["code"] == code


@pytest.mark.parametrize(("script", "after"), [(CRASH, "1"), (Overloaded("x", retry_after=3), "3")])
async def test_a_refusal_says_when_to_come_back(script: Event | Exception, after: str) -> None:
    assert (await streamed(script)).headers["retry-after"] == after


@pytest.mark.parametrize(
    ("ending", "last"),
    [
        ([USAGE, DONE], "done"),
        ([USAGE, DONE, Delta("late"), CRASH], "done"),
        ([CRASH], "failed"),
        ([CRASH, DONE], "failed"),
        ([Cancelled("stopping")], "cancelled"),
        ([ModelFailed("broken")], "failed"),
        ([RuntimeError("a defect")], "failed"),
        ([], "failed"),
        ([USAGE], "failed"),
    ],
)
async def test_after_the_first_delta_exactly_one_terminal_event_ends_the_stream(
    ending: list[Event | Exception], last: str
) -> None:
    exchange = await streamed(STARTED, Delta("a"), *ending)
    assert exchange.status == 200
    found = [name for name in names(exchange.body) if name in TERMINALS]
    assert found == [last]
    assert names(exchange.body)[-1] == last
    assert exchange.sent[-1]["more_body"] is False


async def test_a_defect_in_a_stream_tells_the_client_nothing_of_its_inside() -> None:
    exchange = await streamed(STARTED, Delta("a"), RuntimeError("secret detail"))
    assert b"secret detail" not in exchange.body
    assert b"X-Request-Id" in exchange.body


async def test_an_answer_without_text_is_an_answer() -> None:
    exchange = await streamed(STARTED, USAGE, DONE)
    assert (exchange.status, names(exchange.body)) == (200, ["started", "usage", "done"])


@pytest.mark.parametrize(
    ("ending", "tail"),
    [([USAGE, DONE], True), ([CRASH], False), ([Cancelled()], False), ([], False)],
)
async def test_the_openai_stream_says_done_only_when_it_is(ending: list[Event], tail: bool) -> None:
    source = Source(STARTED, Delta("a"), *ending)
    chunks = ChatChunks(include_usage=False)
    exchange = await call(EventStream(source.events(), chunks, tail=TAIL))
    assert exchange.body.endswith(TAIL) is tail
    last = exchange.body.removesuffix(TAIL).rstrip().rpartition(b"data: ")[2]
    assert ("error" in json.loads(last)) is not tail


async def test_a_slow_stream_is_kept_alive_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.01)
    source = Source(STARTED, Delta("a"), HANG)
    exchange = Exchange()
    stream = EventStream(source.events(), render)
    task = asyncio.create_task(stream(scope_of(), exchange.receive(), exchange.send))
    await exchange.until(lambda seen: seen.body.count(b": keep-alive\n\n") >= 2)
    exchange.left.set()
    await task
    assert source.closed


@pytest.mark.parametrize(
    ("script", "begun"),
    [([HANG], False), ([STARTED, HANG], False), ([STARTED, Delta("a"), HANG], True)],
    ids=["before it starts", "in the queue", "while it streams"],
)
async def test_a_client_that_leaves_closes_the_completion(
    script: list[Event | str], begun: bool
) -> None:
    source = Source(*script)
    exchange = Exchange()
    stream = EventStream(source.events(), render)
    task = asyncio.create_task(stream(scope_of(), exchange.receive(), exchange.send))
    if begun:
        await exchange.until(lambda seen: b"delta" in seen.body)
    else:
        await asyncio.sleep(0.01)
    assert not source.closed
    exchange.left.set()
    await task
    assert source.closed
    assert (exchange.status is not None) is begun


async def test_a_service_that_stops_closes_the_completion() -> None:
    source = Source(STARTED, Delta("a"), HANG)
    exchange = Exchange()
    stream = EventStream(source.events(), render)
    task = asyncio.create_task(stream(scope_of(), exchange.receive(), exchange.send))
    await exchange.until(lambda seen: b"delta" in seen.body)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed


async def test_a_socket_that_fails_closes_the_completion() -> None:
    source = Source(STARTED, Delta("a"), HANG)

    async def send(_: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await EventStream(source.events(), render)(scope_of(), Exchange().receive(), send)
    assert source.closed


async def test_work_ends_when_the_client_leaves() -> None:
    exchange = Exchange()
    request = Request(scope_of(), exchange.receive())
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(until_disconnect(request, work()))
    await asyncio.sleep(0.01)
    exchange.left.set()
    with pytest.raises(ClientGone):
        await task
    assert ended.is_set()


async def test_work_that_is_done_first_counts() -> None:
    async def work(result: int | Exception) -> int:
        if isinstance(result, Exception):
            raise result
        return result

    request = Request(scope_of(), Exchange().receive())
    assert await until_disconnect(request, work(7)) == 7
    with pytest.raises(ModelFailed):
        await until_disconnect(request, work(ModelFailed("no")))
