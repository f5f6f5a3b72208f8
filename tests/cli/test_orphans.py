"""Whatever happens to the supervisor, nothing of what it started stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.cli.supervised import alive, wait_until

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(**services: dict[str, Any]) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.cli.supervising_program",
                    str(tmp_path),
                    json.dumps(services),
                ],
                cwd=ROOT,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin
        for pid in alive(pids(tmp_path)):
            os.kill(pid, signal.SIGKILL)


def pids(folder: Path) -> list[int]:
    return [int(w) for file in folder.glob("*.pids") for w in file.read_text("utf-8").split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor(tmp_path: Path, start: Start, number: signal.Signals) -> None:
    supervisor = start(one={"child": True}, two={})
    wait_until((tmp_path / "ready").exists, "readiness")
    assert len(alive(pids(tmp_path))) == 3
    supervisor.send_signal(number)
    assert supervisor.wait(60) == 0
    wait_until(lambda: not alive(pids(tmp_path)), "end of every process", seconds=5)


def test_kill_9_of_the_supervisor(tmp_path: Path, start: Start) -> None:
    supervisor = start(one={}, two={})
    wait_until((tmp_path / "ready").exists, "readiness")
    supervisor.kill()
    supervisor.wait(60)
    assert len(pids(tmp_path)) == 2
    wait_until(lambda: not alive(pids(tmp_path)), "end of the services")


def test_sigterm_while_everything_starts(tmp_path: Path, start: Start) -> None:
    supervisor = start(one={"never": {"status": "loading"}, "child": True}, two={})
    wait_until(lambda: pids(tmp_path), "start of a service")
    assert not (tmp_path / "ready").exists()
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    wait_until(lambda: not alive(pids(tmp_path)), "end of every process", seconds=5)
    assert not (tmp_path / "ready").exists()


def test_kill_9_while_everything_starts(tmp_path: Path, start: Start) -> None:
    supervisor = start(one={"never": {"status": "loading"}}, two={})
    wait_until(lambda: pids(tmp_path), "start of a service")
    supervisor.kill()
    supervisor.wait(60)
    wait_until(lambda: not alive(pids(tmp_path)), "end of the services")
