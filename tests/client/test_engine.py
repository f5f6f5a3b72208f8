from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.client.asking import ask, request, script
from tests.conftest import LiveApp, engine_settings, fake_store, serve
from tests.observe import until_idle, until_metric

from maloca.client.engine import EngineClient
from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, EmbeddingRequest, collect
from maloca.core.errors import MalocaError
from maloca.core.events import Delta, Done, Failed, Started, Usage
from maloca.core.messages import Message
from maloca.core.sampling import Sampling
from maloca.engine.app import create_app

TOKEN = "ein-langes-geheimes-wort"  # noqa: S105 - made up


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
