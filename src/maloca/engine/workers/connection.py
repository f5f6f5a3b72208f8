"""The engine's end of the inherited pipe: one life of one worker process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator

import msgspec

from maloca.engine.workers.frames import (
    MAX_FRAME,
    FromWorker,
    ToWorker,
    from_worker_decoder,
    pack,
)


class WorkerConnection:
    """A running worker process and its frames."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a worker needs both pipes")
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @classmethod
    async def spawn(cls) -> WorkerConnection:
        """Start a worker process; it waits for a `Load` frame."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "maloca.engine.workers.process", stdin=PIPE, stdout=PIPE
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, frame: ToWorker) -> None:
        """Queue a frame; a worker that is already gone is noticed by `frames` instead."""
        if not self._stdin.is_closing():
            self._stdin.write(pack(frame))

    async def frames(self) -> AsyncIterator[FromWorker]:
        """Yield what the worker says, until it ends or speaks nonsense."""
        ends = (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError)
        with contextlib.suppress(*ends):
            while True:
                header = await self._stdout.readexactly(4)
                size = int.from_bytes(header, "little")
                if size > MAX_FRAME:
                    return
                yield from_worker_decoder.decode(await self._stdout.readexactly(size))

    async def close(self, grace: float = 2.0) -> int:
        """Close the pipe, wait, then kill; return the exit status (negative: a signal)."""
        with contextlib.suppress(ConnectionError):
            self._stdin.close()
        try:
            return await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End the process at once; return the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        return await self._process.wait()
