"""The subprocess of one job, seen from its runner."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from maloca.server.jobs.program import Order

# -P keeps the working folder out of sys.path, where a stray file could shadow a module.
_PROGRAM: Final = (sys.executable, "-P", "-m", "maloca.server.jobs.program")


class JobProcess:
    """A running job; its output goes to a file, which nobody has to read in time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, order: Order, log: Path) -> JobProcess:
        """Start the job in a session of its own, so that all it starts can be ended with it.

        Raises:
            OSError: The process cannot be started, or the log file not be written.
        """
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *_PROGRAM,
                stdin=subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                **_own_group(),
            )
        finally:
            os.close(descriptor)
        if process.stdin is None:
            raise RuntimeError("the process has no stdin")
        # A process that has ended already says so with its exit code.
        with contextlib.suppress(OSError):
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end, end whatever it left behind, and return the exit code."""
        code = await self._process.wait()
        self.kill()
        return code

    def ask(self) -> None:
        """Ask it to stop."""
        with contextlib.suppress(ProcessLookupError, OSError):
            if sys.platform == "win32":
                os.kill(self.pid, signal.CTRL_BREAK_EVENT)
            else:
                self._process.terminate()

    def kill(self) -> None:
        """Kill it and whatever it started."""
        if sys.platform == "win32":
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        else:
            # It leads its group, whose id stays taken while any member lives.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
