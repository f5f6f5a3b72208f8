"""Loading once, aliases, and stopping without a trace."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.engine.asking import (
    chat_model,
    events_of,
    nothing_left,
    request,
    running,
    streaming,
    text_of,
    the_rest,
)
from tests.observe import eventually

from maloca.core.completer import EmbeddingRequest
from maloca.core.errors import MalocaError, ModelNotFound, Unavailable, Unsupported
from maloca.core.events import Cancelled, Done
from maloca.engine.engine import Engine
from maloca.engine.store.fake import install_fake

pytestmark = pytest.mark.process

Workers = Callable[[], set[int]]


def every_worker() -> Iterator[int]:
    """Yield the model workers below this process, those of other tests' services too."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "maloca.engine.workers.process" in process.cmdline():
                yield process.pid


@pytest.fixture
def workers() -> Workers:
    """Return a function that says which model workers this test started."""
    before = set(every_worker())
    return lambda: set(every_worker()) - before


async def test_first_requests_at_the_same_time_load_a_model_once(
    tmp_path: Path, workers: Workers
) -> None:
    async with running(tmp_path, {"preload": False, "queue_limit": 100}, load_ms=200) as engine:
        names = ["default", "fake"] * 10
        answers = await asyncio.gather(
            *(events_of(engine, request(model=name, reply="sí")) for name in names)
        )
        assert {text_of(events) for events in answers} == {"sí"}
        assert len(workers()) == 1
        assert len(list(engine.running())) == 1


async def test_nothing_is_loaded_before_it_is_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, {"preload": False}) as engine:
        assert list(engine.running()) == []
        assert {model.state for model in await engine.models()} == {"stored"}
        assert await engine.loaded("default") is None


async def test_an_alias_answers_under_the_models_own_name(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        install_fake(engine.store, "other")
        engine.store.set_alias("otro", "other")
        started = (await events_of(engine, request(model="otro")))[0]
        assert started.model == "other"  # type: ignore[union-attr] - the first is Started
        engine.store.set_alias("otro", "fake")
        started = (await events_of(engine, request(model="otro")))[0]
        assert started.model == "fake"  # type: ignore[union-attr] - the first is Started


@pytest.mark.parametrize("name", ["nothing", "", "../fake", ".locks", "a/b", "x" * 300])
async def test_an_unknown_name_is_not_found_with_what_there_is(tmp_path: Path, name: str) -> None:
    async with running(tmp_path) as engine:
        with pytest.raises(ModelNotFound) as caught:
            await events_of(engine, request(model=name))
        assert caught.value.info.hint is not None
        assert "default" in caught.value.info.hint


async def test_a_private_prefix_is_refused_while_the_cache_is_shared(tmp_path: Path) -> None:
    wanted = replace(request(), cache_prompt=False)
    async with running(tmp_path / "shared") as engine:
        with pytest.raises(Unsupported, match="cache") as caught:
            await events_of(engine, wanted)
        assert caught.value.info.hint is not None
        assert "MALOCA_ENGINE_PREFIX_CACHE" in caught.value.info.hint
    async with running(tmp_path / "private", {"prefix_cache": False}) as engine:
        assert isinstance((await events_of(engine, wanted))[-1], Done)


async def test_stopping_ends_every_stream_once_and_leaves_no_process(
    tmp_path: Path, workers: Workers
) -> None:
    async with running(tmp_path, {"max_running": 2}) as engine:
        model = await chat_model(engine)
        slow = {"reply": "ab", "delay_ms": 60_000}
        async with (
            streaming(engine, request(**slow)) as one,
            streaming(engine, request(**slow)) as two,
        ):
            waiting = asyncio.create_task(events_of(engine, request()))

            async def queued() -> bool:
                return model.scheduler.waiting == 1

            await eventually(queued)
            assert workers()
            await engine.stop()
            for stream in (one, two):
                assert await the_rest(stream) == [Cancelled("the engine is stopping")]
            assert (await waiting)[-1] == Cancelled("the engine is stopping")
        assert nothing_left(model)
        assert not workers()


async def test_nothing_starts_while_the_engine_stops(tmp_path: Path, workers: Workers) -> None:
    """A request that is still being read when the engine stops must not wait for ever."""
    async with running(tmp_path) as engine:
        install_fake(engine.store, "late")
        late = asyncio.create_task(events_of(engine, request(model="late")))
        long = asyncio.create_task(events_of(engine, request("x" * 30_000)))
        await asyncio.sleep(0)
        await engine.stop()
        for task in (late, long):
            with pytest.raises(MalocaError):
                await asyncio.wait_for(task, 10)
        with pytest.raises(Unavailable):
            await events_of(engine, request())
        with pytest.raises(Unavailable):
            await engine.embed(EmbeddingRequest(model="embedding", texts=["a"]))
        assert not workers()


async def test_a_model_that_is_stopped_refuses_what_comes_late(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        model = await chat_model(engine)
        await events_of(engine, request())
        await model.stop()
        with pytest.raises(Unavailable):
            _ = [event async for event in model.complete(request())]
        assert nothing_left(model)


@pytest.mark.parametrize("load", ["hang", "crash"])
async def test_stopping_while_a_model_loads_leaves_no_process(
    tmp_path: Path, workers: Workers, load: str
) -> None:
    async with running(tmp_path, load=load) as engine:
        waiting = asyncio.create_task(events_of(engine, request()))
        await asyncio.sleep(0.1)
        await engine.stop()
        assert (await waiting)[-1] == Cancelled("the engine is stopping")
    assert not workers()


async def test_an_engine_can_be_stopped_twice_and_before_it_started(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await engine.stop()
    never = Engine(engine.settings)
    await never.stop()
