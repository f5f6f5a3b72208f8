"""Services of `child_program.py`, and what happened to them."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from maloca.cli.child import Service
from maloca.cli.readiness import Readiness

PROGRAM = Path(__file__).with_name("child_program.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Tried:
    """A service whose processes a test can count."""

    def __init__(self, folder: Path, name: str = "child", **options: Any) -> None:
        self.pids_file = folder / f"{name}.pids"
        port = free_port()
        argument = json.dumps({"port": port, "pids": str(self.pids_file), **options})
        self.service = Service(
            name=name,
            argv=[sys.executable, str(PROGRAM), argument],
            ready_url=f"http://127.0.0.1:{port}/",
        )

    @property
    def runs(self) -> list[list[int]]:
        """For each start, the process's id and those of what it started."""
        if not self.pids_file.exists():
            return []
        lines = self.pids_file.read_text(encoding="utf-8").splitlines()
        return [[int(word) for word in line.split()] for line in lines]

    @property
    def family(self) -> list[int]:
        """Every process that there ever was."""
        return [pid for run in self.runs for pid in run]


class Told:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.states: list[tuple[str, Readiness]] = []
        self.restarts: list[tuple[str, int, float]] = []
        self.came_back: list[str] = []
        self.stopped = 0

    def line(self, service: str, text: str) -> None:
        self.lines.append((service, text))

    def waiting(self, service: str, state: Readiness) -> None:
        self.states.append((service, state))

    def restarting(self, service: str, exit_code: int, delay: float) -> None:
        self.restarts.append((service, exit_code, delay))

    def back(self, service: str) -> None:
        self.came_back.append(service)

    def stopping(self) -> None:
        self.stopped += 1


def alive(pids: Iterable[int]) -> list[int]:
    """Return those that still run; a zombie that waits for its parent does not."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Wait for something that must happen, however slow the machine is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"within {seconds} s there was no {what}")
        time.sleep(0.02)
