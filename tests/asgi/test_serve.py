"""A service as its supervisor, its clients and the next command see it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import maloca
from maloca.asgi import records

pytestmark = pytest.mark.process

PROGRAM = Path(__file__).with_name("program.py")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MALOCA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the program, by default on a free port and with a long grace."""
    with contextlib.ExitStack() as stack:

        def begin(*words: str, port: int = 0, grace: int = 60) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(port), str(grace), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


def wait_for_record() -> records.Record:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if record := records.find("engine"):
            return record
        time.sleep(0.02)
    pytest.fail("the service wrote no record")


def test_a_service_says_where_it_is_while_it_runs(start: Start, home: Path) -> None:
    process = start()
    record = wait_for_record()
    assert (record.name, record.pid, record.version) == ("engine", process.pid, maloca.__version__)
    path = home / "run" / "engine.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    answer = httpx.get(f"{record.url}/health/ready")
    assert answer.status_code == 200
    assert "server" not in answer.headers
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert (home / "ended").exists()
    assert "reason=SIGTERM" in errors
    assert "Traceback" not in errors
    assert list(path.parent.iterdir()) == []


def test_ctrl_c_is_an_orderly_stop_too(start: Start, home: Path) -> None:
    process = start()
    wait_for_record()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (home / "ended").exists()
    assert "Traceback" not in errors


def test_readiness_fails_first_and_a_stream_ends_whole(start: Start) -> None:
    process = start()
    url = wait_for_record().url
    with httpx.stream("GET", f"{url}/count?until=draining") as response:
        lines = response.iter_lines()
        assert next(lines) == "0"
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while (code := httpx.get(f"{url}/health/ready").status_code) == 200:
            assert time.monotonic() < deadline
        assert code == 503
        assert list(lines)[-1] == "end"
    assert process.wait(30) == 0


def test_a_stream_without_end_is_cut_after_the_grace(start: Start, home: Path) -> None:
    process = start(grace=1)
    url = wait_for_record().url
    with httpx.stream("GET", f"{url}/count") as response:
        lines = response.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    assert process.wait(30) == 0
    assert (home / "ended").exists()


def test_a_second_signal_stops_at_once(start: Start) -> None:
    process = start(grace=3600)
    url = wait_for_record().url
    with httpx.stream("GET", f"{url}/count") as response:
        lines = response.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/health/ready").status_code == 200:
            pass
        process.send_signal(signal.SIGINT)
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    assert process.wait(30) == 130


def test_a_service_stops_when_its_lifeline_ends(start: Start, home: Path) -> None:
    process = start("lifeline")
    wait_for_record()
    process.communicate(timeout=30)  # It closes stdin.
    assert process.returncode == 0
    assert (home / "ended").exists()
    assert records.find("engine") is None


def test_stdin_means_nothing_without_a_lifeline(start: Start) -> None:
    process = start()
    url = wait_for_record().url
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    assert httpx.get(f"{url}/health/ready").status_code == 200
    assert process.poll() is None


def test_a_stop_need_not_wait_for_the_start(start: Start) -> None:
    process = start("stuck")
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_an_app_that_cannot_start_says_why(start: Start, home: Path) -> None:
    process = start("broken")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the roof leaks" in errors
    assert not (home / "run").exists()


def test_a_killed_service_is_not_found(start: Start, home: Path) -> None:
    process = start()
    wait_for_record()
    process.kill()
    process.wait(30)
    assert (home / "run" / "engine.json").exists()
    assert records.find("engine") is None


def test_a_taken_port_names_who_has_it(start: Start) -> None:
    first = start()
    port = int(wait_for_record().url.rpartition(":")[2])
    second = start(port=port)
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 1
    assert f"127.0.0.1:{port} is taken by Maloca's engine (pid {first.pid})." in errors
