"""One child process of the supervisor: its lifeline, its output and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import psutil

from maloca.cli.console import visible

LAST_LINES: Final = 20
LOG_BYTES: Final = 5 * 1024 * 1024
LOG_FILES: Final = 3
_LINE_BYTES: Final = 8192
_DRAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """A program that the supervisor keeps running.

    Attributes:
        name: Names its log file, and stands before its lines.
        argv: The program and its arguments. Its stdin is a pipe that ends with the supervisor.
        ready_url: Answers 200 when it is ready; before, 503 with `{"message"}`. None for a
            service without an address: it is ready when its record names its process.
        env: Variables set beside the inherited ones.
    """

    name: str
    argv: Sequence[str]
    ready_url: str | None
    env: Mapping[str, str] = field(default_factory=dict)


class Child(asyncio.SubprocessProtocol):
    """A running service.

    A protocol rather than `asyncio.subprocess.Process`: that one's `wait` does not return while
    a grandchild, such as a model worker, holds the output pipe open.
    """

    def __init__(self, service: Service, *, log: Path, echo: Callable[[str, str], None]) -> None:
        self.service = service
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.started = time.monotonic()
        self._log = _open_log(log)
        self._echo = echo
        self._buffer = b""
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self._cleared = False
        self._transport: asyncio.SubprocessTransport | None = None

    @classmethod
    async def start(cls, service: Service, *, log: Path, echo: Callable[[str, str], None]) -> Child:
        """Start the program in a session of its own, so that Ctrl-C reaches the supervisor alone.

        Raises:
            OSError: The program cannot be run, or the log file not be written.
        """
        child = cls(service, log=log, echo=echo)
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: child,
                *service.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **service.env},
                **_own_group(),
            )
        except BaseException:
            child._log.close()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.get_pid()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that killed it (POSIX)."""
        return self._process.get_returncode()

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    async def wait(self) -> int:
        """Wait for the process's end and for the last of its output; clear away what it left.

        Returns:
            The exit code.
        """
        await self._exited.wait()
        self._kill_group()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), _DRAIN_SECONDS)
        self._process.close()
        self._log.close()
        self._cleared = True
        return self.exit_code or 0

    async def stop(self, *, grace: float, at_once: asyncio.Event) -> None:
        """Ask the process to stop; kill it after `grace` seconds, or when `at_once` is set."""
        if self._cleared:
            return
        self._ask()
        waits = [asyncio.ensure_future(w) for w in (self._exited.wait(), at_once.wait())]
        try:
            await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if not self._exited.is_set():
                self._kill_group()
        await self.wait()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport, which holds the lifeline."""
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take output, and pass whole lines on."""
        del fd
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._buffer) > _LINE_BYTES:
            self._line(self._buffer)
            self._buffer = b""

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Note the end of the output."""
        del exc
        if fd == 1:
            if self._buffer:
                self._line(self._buffer)
            self._drained.set()

    def process_exited(self) -> None:
        """Note the end of the process."""
        self._exited.set()

    @property
    def _process(self) -> asyncio.SubprocessTransport:
        if self._transport is None:
            raise RuntimeError("the process has not been started")
        return self._transport

    def _line(self, raw: bytes) -> None:
        """Pass a line on, in pieces when it is very long."""
        text = raw.decode("utf-8", "replace").rstrip("\r")
        for start in range(0, max(1, len(text)), _LINE_BYTES):
            # A log line may quote a user's text; it must not drive the terminal that shows it.
            line = visible(text[start : start + _LINE_BYTES])
            self.last_lines.append(line)
            self._log.emit(logging.makeLogRecord({"msg": line}))
            self._echo(self.service.name, line)

    def _ask(self) -> None:
        with contextlib.suppress(ProcessLookupError, OSError):
            if sys.platform == "win32":
                os.kill(self.pid, signal.CTRL_BREAK_EVENT)
            else:
                # Its own children are its to stop, in its own order.
                self._process.terminate()

    def _kill_group(self) -> None:
        """Kill the process and whatever it started."""
        if sys.platform == "win32":
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        else:
            # The child leads its group, whose id stays taken while any member lives.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _open_log(path: Path) -> RotatingFileHandler:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler
