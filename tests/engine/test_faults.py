"""Workers that crash, hang or do not load: one typed error each."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.conftest import engine_settings, fake_store, serve
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
from maloca.core.errors import MalocaError
from maloca.core.events import Done, Event, Failed
from maloca.engine import scheduler
from maloca.engine.app import create_app
from maloca.engine.chat import ChatModel
from maloca.engine.engine import Engine
from maloca.engine.store.fake import install_fake
from maloca.engine.store.store import ModelStore
from maloca.engine.workers.keeper import WorkerState

pytestmark = pytest.mark.process


def failure(event: Event) -> tuple[int, str]:
    assert isinstance(event, Failed)
    return event.error.status, event.error.code


async def until_pid(model: ChatModel) -> int:
    async def check() -> bool:
        return model.keeper.state is WorkerState.READY and model.keeper.pid is not None

    await eventually(check)
    assert model.keeper.pid is not None
    return model.keeper.pid


async def answers_again(engine: Engine) -> None:
    assert text_of(await events_of(engine, request(reply="sigo aquí"))) == "sigo aquí"


@pytest.mark.parametrize("after", [0, 3], ids=["before the first token", "midway"])
async def test_a_crash_is_one_typed_error_and_the_worker_comes_back(
    tmp_path: Path, after: int
) -> None:
    async with running(tmp_path) as engine:
        model = await chat_model(engine)
        first = await until_pid(model)
        events = await events_of(engine, request(reply="abcdef", after=after, then="crash"))
        assert failure(events[-1]) == (503, "worker_crashed")
        assert nothing_left(model)
        await answers_again(engine)
        assert model.keeper.pid != first
        assert model.keeper.restarts == 1


async def test_a_crash_fails_what_ran_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path, {"max_running": 2}) as engine:
        model = await chat_model(engine)
        await until_pid(model)
        async with streaming(engine, request(reply="ab", delay_ms=60_000)) as bystander:
            crash = asyncio.create_task(
                events_of(engine, request(reply="x", first_ms=200, after=0, then="crash"))
            )
            waiting = [
                asyncio.create_task(events_of(engine, request(reply=f"n{n}"))) for n in range(5)
            ]
            assert failure((await crash)[-1]) == (503, "worker_crashed")
            assert failure((await the_rest(bystander))[-1]) == (503, "worker_crashed")
        # What waited never was in the worker, so nothing happened to it.
        assert [text_of(events) for events in await asyncio.gather(*waiting)] == [
            f"n{n}" for n in range(5)
        ]
        assert nothing_left(model)


async def test_a_worker_killed_from_outside_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        model = await chat_model(engine)
        pid = await until_pid(model)
        async with streaming(engine, request(reply="ab", delay_ms=60_000)) as stream:
            os.kill(pid, signal.SIGKILL)
            assert failure((await the_rest(stream))[-1]) == (503, "worker_crashed")
        await answers_again(engine)


async def test_an_idle_worker_that_dies_is_replaced_before_anybody_notices(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        model = await chat_model(engine)
        pid = await until_pid(model)
        os.kill(pid, signal.SIGKILL)

        async def replaced() -> bool:
            return model.keeper.restarts == 1

        await eventually(replaced)
        await answers_again(engine)


async def test_requests_that_arrive_around_a_crash_are_answered_or_told(tmp_path: Path) -> None:
    """No moment of a worker's death may swallow a request."""
    async with running(tmp_path, {"queue_limit": 500}) as engine:
        model = await chat_model(engine)
        pid = await until_pid(model)

        async def ask(number: int) -> str:
            await asyncio.sleep(number / 1000)
            last = (await events_of(engine, request(reply="x")))[-1]
            return "done" if isinstance(last, Done) else failure(last)[1]

        tasks = [asyncio.create_task(ask(number)) for number in range(200)]
        await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        outcomes = await asyncio.wait_for(asyncio.gather(*tasks), 30)
        assert set(outcomes) <= {"done", "worker_crashed"}
        await answers_again(engine)
        assert nothing_left(model)


@pytest.mark.parametrize("after", [0, 2])
async def test_a_hung_worker_is_replaced(tmp_path: Path, after: int) -> None:
    async with running(tmp_path, {"step_timeout": 0.3}) as engine:
        model = await chat_model(engine)
        first = await until_pid(model)
        events = await events_of(engine, request(reply="abcdef", after=after, then="hang"))
        assert failure(events[-1]) == (503, "worker_crashed")
        await answers_again(engine)
        assert not psutil.pid_exists(first)


async def test_a_worker_with_nothing_to_say_for_a_while_is_left_alone(tmp_path: Path) -> None:
    """A load, an idle time or a slow answer longer than the watchdog's patience is no hang."""
    async with running(tmp_path, {"step_timeout": 0.3}, load_ms=500) as engine:
        model = await chat_model(engine)
        pid = await until_pid(model)
        await asyncio.sleep(0.5)
        events = await events_of(engine, request(reply="ab", first_ms=400, delay_ms=400))
        assert text_of(events) == "ab"
        assert (model.keeper.pid, model.keeper.restarts) == (pid, 0)


async def test_the_first_step_after_a_long_load_is_given_its_time(tmp_path: Path) -> None:
    """The time that the load took is no silence of the loaded worker."""
    async with running(tmp_path, {"step_timeout": 2}, load_ms=2200) as engine:
        events = await events_of(engine, request(reply="sí", silent_ms=800))
        assert text_of(events) == "sí"


@pytest.mark.parametrize(
    ("load", "settings", "said"),
    [
        ("fail", {}, "told to fail"),
        ("crash", {}, "ended 3 times while it loaded (last: exit status 139)"),
        ("hang", {"load_timeout": 0.3}, "was not loaded within 0.3 s"),
    ],
)
async def test_a_model_that_does_not_load_says_so_and_others_serve(
    tmp_path: Path, load: str, settings: dict[str, Any], said: str
) -> None:
    async with running(tmp_path, settings, load=load) as engine:
        install_fake(engine.store, "other")
        events = await events_of(engine, request())
        last = events[-1]
        assert failure(last) == (500, "model_failed")
        assert isinstance(last, Failed)
        assert "'fake'" in last.error.message
        assert said in last.error.message
        assert last.error.hint
        # The next one is told at once, without another load.
        with pytest.raises(MalocaError, match="'fake'") as caught:
            await events_of(engine, request())
        assert caught.value.info == last.error
        assert (await chat_model(engine)).keeper.pid is None
        others = await events_of(engine, request(model="other", reply="yo sí"))
        assert text_of(others) == "yo sí"
        embedded = await engine.embed(EmbeddingRequest(model="embedding", texts=["a"]))
        assert embedded.count == 1


async def test_a_model_that_was_mended_loads_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, load="fail") as engine:
        await events_of(engine, request())
        model = await chat_model(engine)
        monkeypatch.setattr(scheduler, "_RETRY_LOAD_AFTER", 0.0)
        model.keeper.spec.options.pop("load")
        await answers_again(engine)


async def test_a_process_that_cannot_be_started_is_an_error_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    async with running(tmp_path) as engine:
        events = await events_of(engine, request())
        assert failure(events[-1]) == (500, "model_failed")
        assert isinstance(events[-1], Failed)
        assert "no-python" in events[-1].error.message


def test_without_its_default_model_the_engine_is_up_but_not_ready(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    install_fake(store, "other")
    with serve(create_app(engine_settings(store.path)), ready="/health/live") as live:
        ready = httpx.get(live.url + "/health/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "no_model"
        assert "maloca models pull" in ready.json()["message"]
        assert httpx.get(live.url + "/health").status_code == 200
        body = {"messages": [{"role": "user", "content": "hola"}]}
        missing = httpx.post(live.url + "/api/llm/generate", json=body)
        assert missing.status_code == 404
        assert "maloca models pull" in missing.json()["error"]["hint"]
        named = httpx.post(live.url + "/api/llm/generate", json=body | {"model": "other"})
        assert named.status_code == 200


@pytest.mark.parametrize(("load", "status"), [("fail", "failed"), ("hang", "loading")])
def test_readiness_says_where_the_default_model_stands(
    tmp_path: Path, load: str, status: str
) -> None:
    app = create_app(engine_settings(fake_store(tmp_path, load=load).path))
    with serve(app, ready="/health/live") as live:
        found = {}
        while found.get("status") != status:
            response = httpx.get(live.url + "/health/ready")
            found = response.json()
            assert response.status_code == 503
        assert (found["message"] is not None) is (load == "fail")
        assert httpx.get(live.url + "/health").status_code == 200
