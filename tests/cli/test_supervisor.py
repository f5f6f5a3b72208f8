"""The supervisor over small services that end, hang and disobey."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.cli.supervised import Told, Tried, alive, free_port, wait_until

from maloca.cli import child
from maloca.cli.child import Service
from maloca.cli.readiness import Readiness
from maloca.cli.supervisor import Limits, ServiceFailed, Supervisor

pytestmark = pytest.mark.process

QUICK = Limits(ready=60, grace=30, poll=0.02, first_delay=0.01, most_delay=0.04, healthy=3600)


class Running:
    """A supervisor at work in the background."""

    def __init__(self, supervisor: Supervisor, told: Told) -> None:
        self.told = told
        self.supervisor = supervisor
        self.ready = asyncio.Event()
        self.task = asyncio.create_task(supervisor.run(self.ready.set))

    async def until_ready(self) -> None:
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait([ready, self.task], timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()
        assert ready.done()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self.supervisor.stop()
        async with asyncio.timeout(60):
            await self.task


@contextlib.asynccontextmanager
async def supervise(folder: Path, *tried: Tried, limits: Limits = QUICK) -> AsyncIterator[Running]:
    told = Told()
    services = [one.service for one in tried]
    running = Running(
        Supervisor(services, logs=folder / "logs", reporter=told, limits=limits), told
    )
    try:
        yield running
    finally:
        running.supervisor.stop()
        running.supervisor.stop()
        await asyncio.wait([running.task], timeout=60)
        everybody = [pid for one in tried for pid in one.family]
        # A killed process may need a moment to be gone.
        wait_until(lambda: not alive(everybody), "end of every process", seconds=5)


async def test_it_runs_services_until_told_to_stop(tmp_path: Path) -> None:
    first = Tried(tmp_path, "first", says="one\ntwo\n", child=True)
    second = Tried(tmp_path, "second", says="three")
    async with supervise(tmp_path, first, second) as running:
        await running.until_ready()
        assert len(alive(first.family)) == 2
        assert len(alive(second.family)) == 1
        await running.stop()
    assert [text for name, text in running.told.lines if name == "first"] == ["one", "two"]
    assert ("second", "three") in running.told.lines
    assert running.told.restarts == []
    assert running.told.stopped == 1
    assert (tmp_path / "logs" / "first.log").read_text(encoding="utf-8") == "one\ntwo\n"
    assert (tmp_path / "logs" / "second.log").read_text(encoding="utf-8") == "three\n"


def mine(number: int, frame: FrameType | None) -> None:
    """The handler that was there before the supervisor's."""
    pytest.fail(f"signal {number} at {frame} came before the supervisor listened")


@pytest.fixture(params=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def heard(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that is not ignored, as SIGHUP is in tests that run under nohup."""
    number: signal.Signals = request.param
    before = signal.signal(number, mine)
    yield number
    signal.signal(number, before)


async def test_signals_stop_everything(tmp_path: Path, heard: signal.Signals) -> None:
    async with supervise(tmp_path, Tried(tmp_path)) as running:
        await running.until_ready()
        os.kill(os.getpid(), heard)
        async with asyncio.timeout(60):
            await running.task
    assert signal.getsignal(heard) is mine


async def test_a_killed_service_comes_back(tmp_path: Path) -> None:
    tried = Tried(tmp_path, child=True)
    other = Tried(tmp_path, "other")
    async with supervise(tmp_path, tried, other) as running:
        await running.until_ready()
        os.kill(tried.runs[0][0], signal.SIGKILL)
        await running.until(lambda: running.told.came_back)
        assert len(tried.runs) == 2
        # What it had started is gone as well.
        await running.until(lambda: not alive(tried.runs[0]))
        assert len(alive(tried.runs[1])) == 2
    assert running.told.restarts == [("child", -signal.SIGKILL, 0.01)]
    assert running.told.came_back == ["child"]
    assert len(other.runs) == 1


async def test_the_delay_doubles_up_to_a_limit(tmp_path: Path) -> None:
    async with supervise(tmp_path, Tried(tmp_path, crash=True)) as running:
        await running.until(lambda: len(running.told.restarts) == 5)
    delays = [delay for _, _, delay in running.told.restarts]
    assert delays == [0.01, 0.02, 0.04, 0.04, 0.04]
    assert {code for _, code, _ in running.told.restarts} == {70}


async def test_the_delay_starts_anew_after_a_healthy_time(tmp_path: Path) -> None:
    limits = replace(QUICK, healthy=0)
    async with supervise(tmp_path, Tried(tmp_path, crash=True), limits=limits) as running:
        await running.until(lambda: len(running.told.restarts) == 3)
    assert [delay for _, _, delay in running.told.restarts] == [0.01, 0.01, 0.01]


async def test_a_service_that_ends_before_it_is_ready_stops_everything(tmp_path: Path) -> None:
    good = Tried(tmp_path, "good")
    bad = Tried(tmp_path, "bad", says="no\nport taken\n", exit_code=1)
    async with supervise(tmp_path, good, bad) as running:
        with pytest.raises(ServiceFailed) as caught:
            await running.task
    assert caught.value.info.message == "bad ended with exit code 1 before it was ready."
    assert caught.value.service == "bad"
    assert caught.value.lines == ("no", "port taken")
    assert len(bad.runs) == 1
    assert running.told.restarts == []


async def test_a_bad_setting_is_not_tried_again(tmp_path: Path) -> None:
    tried = Tried(tmp_path, exit_code=2, from_run=2)
    async with supervise(tmp_path, tried) as running:
        await running.until_ready()
        os.kill(tried.runs[0][0], signal.SIGKILL)
        with pytest.raises(ServiceFailed) as caught:
            await running.task
    assert caught.value.info.message == "child ended with exit code 2 after a restart."
    assert len(tried.runs) == 2


async def test_a_service_that_says_it_failed_is_not_waited_for(tmp_path: Path) -> None:
    said = {"status": "failed", "message": "model.gguf is damaged."}
    async with supervise(tmp_path, Tried(tmp_path, says="ah\n", never=said)) as running:
        with pytest.raises(ServiceFailed) as caught:
            await running.task
    assert caught.value.info.message == "child failed: model.gguf is damaged."
    assert caught.value.lines == ("ah",)
    assert str(tmp_path / "logs" / "child.log") in (caught.value.info.hint or "")


async def test_waiting_says_for_what_and_has_an_end(tmp_path: Path) -> None:
    said = {"status": "loading", "message": None}
    limits = replace(QUICK, ready=1)
    async with supervise(tmp_path, Tried(tmp_path, never=said), limits=limits) as running:
        with pytest.raises(ServiceFailed) as caught:
            await running.task
    assert caught.value.info.message == "child is not ready after 1 seconds: loading."
    assert running.told.states[-1] == ("child", Readiness(ready=False, status="loading"))
    assert len(running.told.states) <= 2  # It says so once, not at every question.


async def test_who_does_not_obey_is_killed_after_the_grace(tmp_path: Path) -> None:
    tried = Tried(tmp_path, deaf=True, child=True)
    limits = replace(QUICK, grace=0.2)
    async with supervise(tmp_path, tried, limits=limits) as running:
        await running.until_ready()
        await running.stop()


async def test_a_second_stop_does_not_wait(tmp_path: Path) -> None:
    tried = Tried(tmp_path, deaf=True)
    limits = replace(QUICK, grace=3600)
    async with supervise(tmp_path, tried, limits=limits) as running:
        await running.until_ready()
        running.supervisor.stop()
        await running.until(lambda: running.told.stopped)
        assert len(alive(tried.family)) == 1
        await running.stop()


async def test_a_stop_in_the_middle_of_a_delay(tmp_path: Path) -> None:
    limits = replace(QUICK, first_delay=3600)
    tried = Tried(tmp_path)
    async with supervise(tmp_path, tried, limits=limits) as running:
        await running.until_ready()
        os.kill(tried.runs[0][0], signal.SIGKILL)
        await running.until(lambda: running.told.restarts)
        await running.stop()
    assert len(tried.runs) == 1


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    missing = Tried(tmp_path)
    missing.service = Service("ghost", [str(tmp_path / "ghost")], f"http://127.0.0.1:{free_port()}")
    async with supervise(tmp_path, Tried(tmp_path, "good"), missing) as running:
        with pytest.raises(ServiceFailed, match="ghost cannot be started: "):
            await running.task


async def test_output_is_shown_line_by_line_whatever_it_is(tmp_path: Path) -> None:
    tried = Tried(tmp_path, says="\x1b[31mred\x07\r\n\xff\n\n" + "x" * 20_000 + "\nend")
    async with supervise(tmp_path, tried) as running:
        await running.until_ready()
        await running.until(lambda: len(running.told.lines) >= 6)
        await running.stop()
    texts = [text for _, text in running.told.lines]
    assert texts[:3] == ["\ufffd[31mred\ufffd", "\ufffd", ""]
    assert "".join(texts[3:-1]) == "x" * 20_000
    assert texts[-1] == "end"


async def test_logs_do_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LOG_BYTES", 1000)
    lines = "".join(f"{number:099}\n" for number in range(200))
    async with supervise(tmp_path, Tried(tmp_path, says=lines)) as running:
        await running.until_ready()
        await running.until(lambda: len(running.told.lines) == 200)
    logs = sorted((tmp_path / "logs").iterdir())
    assert [log.name for log in logs] == ["child.log", *(f"child.log.{n}" for n in (1, 2, 3))]
    assert all(log.stat().st_size <= 1000 for log in logs)


async def test_a_terminal_that_went_away_changes_nothing(tmp_path: Path) -> None:
    class Gone(Told):
        def line(self, service: str, text: str) -> None:
            super().line(service, text)
            raise BrokenPipeError

    tried = Tried(tmp_path, says="hello\n")
    told = Gone()
    supervisor = Supervisor([tried.service], logs=tmp_path / "logs", reporter=told, limits=QUICK)
    running = Running(supervisor, told)
    await running.until_ready()
    await running.until(lambda: told.lines)
    await running.stop()
