from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import LiveApp, engine_settings, fake_store, serve
from tests.observe import until_idle, until_metric

from maloca.client import engine as client_module
from maloca.client.engine import EngineClient
from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, EmbeddingRequest, collect
from maloca.core.errors import MalocaError
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Started, Usage
from maloca.core.messages import Message
from maloca.core.sampling import Sampling
from maloca.engine.app import create_app

TOKEN = "ein-langes-geheimes-wort"  # noqa: S105 - made up
STARTED = b'data: {"event":"started","id":"1","model":"m","created":1,"prompt_tokens":2}\n\n'
DELTA = b'data: {"event":"delta","text":"hola"}\n\n'
CANCELLED = b'data: {"event":"cancelled","reason":"x"}\n\n'


def request(content: str = "hola", **options: Any) -> CompletionRequest:
    messages = [Message("system", "Sé breve."), Message("user", content)]
    return CompletionRequest(model="default", messages=messages, **options)


def script(**what: Any) -> str:
    return f"#fake {json.dumps(what)}"


async def ask(client: EngineClient, wanted: CompletionRequest) -> list[Event]:
    return [event async for event in client.complete(wanted)]


@pytest.fixture
async def client(live_engine: LiveApp) -> AsyncIterator[EngineClient]:
    async with EngineClient(live_engine.url + "/") as client:
        yield client


async def test_an_answer_arrives_event_by_event(client: EngineClient) -> None:
    wanted = request(script(reply="ɨ́🔥"), id="trace-9")
    events = await ask(client, wanted)
    started, *deltas, usage, done = events
    assert isinstance(started, Started)
    assert (started.id, started.model, started.device) == ("trace-9", "fake", "fake")
    assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == "ɨ́🔥"
    assert isinstance(usage, Usage)
    assert usage.prompt_tokens == started.prompt_tokens
    assert isinstance(done, Done)
    assert done.finish_reason == "stop"


async def test_sampling_arrives_whole(client: EngineClient) -> None:
    sampling = Sampling(max_new_tokens=4, stop=("c",), seed=3, temperature=1.5, top_p=0.5)
    answer = await collect(client.complete(request(script(reply="abcdef"), sampling=sampling)))
    assert (answer.text, answer.finish_reason) == ("ab", "stop")
    to_the_end = Sampling(max_new_tokens=None, ignore_eos=True)
    answer = await collect(client.complete(request(sampling=to_the_end)))
    assert answer.usage.total_tokens == 4096
    one, two = [
        (await collect(client.complete(request(sampling=Sampling(seed=5))))).text for _ in range(2)
    ]
    assert one == two


async def test_texts_are_embedded(client: EngineClient) -> None:
    found = await client.embed(EmbeddingRequest(model="embedding", texts=["a", "b", "a"]))
    assert (found.model, found.dim, found.count, found.tokens) == ("fake-embedding", 8, 3, 3)
    first, second, third = found.vectors
    assert first == third != second


async def test_tokens_models_and_health(client: EngineClient) -> None:
    assert await client.tokenize("default", "hola") == list(b"hola")
    turns = await client.tokenize("default", [Message("user", "a")])
    assert (turns[0], turns[-1]) == (256, ord("\n"))
    assert [model.name for model in await client.models()] == ["fake", "fake-embedding"]
    assert (await client.health())["status"] == "ready"


@pytest.mark.parametrize(
    ("wanted", "status", "code", "param"),
    [
        (replace(request(), model="none"), 404, "model_not_found", None),
        (replace(request(), messages=[]), 422, "invalid_request", "messages"),
        (request("x" * 5000), 422, "context_length_exceeded", "messages"),
        (request(script(after=0, then="error")), 500, "generation_failed", None),
        (request(script(first_ms=60_000), budget=Budget.of_ms(300)), 504, "budget_exceeded", None),
    ],
)
async def test_refusals_arrive_as_the_engine_said_them(
    client: EngineClient, wanted: CompletionRequest, status: int, code: str, param: str | None
) -> None:
    with pytest.raises(MalocaError) as caught:
        await ask(client, wanted)
    info = caught.value.info
    assert (info.status, info.code, info.param) == (status, code, param)
    assert info.message


async def test_a_failure_midway_is_the_terminal_event(client: EngineClient) -> None:
    events = await ask(client, request(script(reply="abc", after=2, then="error")))
    assert isinstance(events[-1], Failed)
    assert events[-1].error.code == "generation_failed"
    assert [type(event) for event in events[:-1]] == [Started, Delta, Delta]


async def test_closing_the_stream_stops_the_generation(
    client: EngineClient, live_engine: LiveApp
) -> None:
    slow = request(script(reply="ab", delay_ms=60_000))
    async with aclosing(client.complete(slow)) as stream:
        async for event in stream:
            if isinstance(event, Delta):
                break
        await until_metric(live_engine.url, "maloca_requests_running", 1, model="fake")
    await until_idle(live_engine.url)


async def test_an_engine_that_wants_a_token_gets_it(tmp_path: Path) -> None:
    app = create_app(engine_settings(fake_store(tmp_path).path, token=TOKEN))
    with serve(app) as live:
        async with EngineClient(live.url, token=TOKEN) as client:
            assert isinstance((await ask(client, request()))[-1], Done)
        for wrong in (None, "another-long-enough-word"):
            async with EngineClient(live.url, token=wrong) as client:
                with pytest.raises(MalocaError) as caught:
                    await ask(client, request())
            # The caller's own credentials are in order: this is no 401 of theirs.
            assert (caught.value.info.status, caught.value.info.code) == (503, "engine_refuses")
            assert "MALOCA_ENGINE_TOKEN" in (caught.value.info.hint or "")


@dataclass
class RawServer:
    """A server that answers what a test writes, byte by byte."""

    url: str = ""
    connections: int = 0
    requests: list[str] = field(default_factory=list)


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw(answer: Answer, *, keep: bool = False) -> AsyncIterator[RawServer]:
    """Serve one answer per request; `keep` waits for more on the same connection."""
    server = RawServer()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                server.requests.append(head)
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                await reader.readexactly(int(length[1]) if length else 0)
                await answer(writer)
                await writer.drain()
                if not keep:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server


def chunked(*parts: bytes, end: bool = True) -> Answer:
    """Answer 200 with a chunked event stream, which may break off."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        for part in parts:
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if end:
            writer.write(b"0\r\n\r\n")

    return answer


def plain(status: int, body: bytes, headers: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n".encode())
        writer.write(headers + b"\r\n" + body)

    return answer


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
