"""Writes usage in the background: no answer waits for it, or fails because of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy.exc import SQLAlchemyError

from maloca.server.db.database import Database
from maloca.server.usage import repository

QUEUE_LIMIT: Final = 20_000
BATCH: Final = 500
FLUSH_SECONDS: Final = 1.0
STOP_SECONDS: Final = 10.0
_MAX_BACKOFF: Final = 30.0

Row = dict[str, Any]

log = structlog.get_logger(__name__)


class UsageRecorder:
    """A bounded queue of rows, and the task that writes them in batches.

    While the database does not answer, rows wait; when the queue is full, the oldest give way
    and are counted. A batch may be written twice without harm, since its rows have their ids.
    """

    def __init__(
        self, database: Database, registry: CollectorRegistry, *, limit: int = QUEUE_LIMIT
    ) -> None:
        self._database = database
        self._rows: deque[Row] = deque()
        self._limit = limit
        self._wanted = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.dropped = Counter(
            "maloca_usage_rows_dropped", "Usage that could not be kept.", registry=registry
        )
        waiting = Gauge("maloca_usage_rows_waiting", "Usage not written yet.", registry=registry)
        waiting.set_function(lambda: len(self._rows))

    def record(self, row: Row) -> None:
        """Keep a row; never waits, never fails."""
        if len(self._rows) >= self._limit:
            self._rows.popleft()
            self.dropped.inc()
        self._rows.append(row)
        if len(self._rows) >= BATCH:
            self._wanted.set()

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="usage")

    async def stop(self) -> None:
        """Write what waits, as far as the database lets it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()
        if self._rows:
            log.error("usage_lost", rows=len(self._rows))
            self.dropped.inc(len(self._rows))
            self._rows.clear()

    async def flush(self) -> bool:
        """Write everything that waits now; return whether the database took it."""
        async with self._writing:
            while self._rows:
                batch = [self._rows.popleft() for _ in range(min(BATCH, len(self._rows)))]
                if not await self._write(batch):
                    return False
        return True

    async def _run(self) -> None:
        pause = FLUSH_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            self._wanted.clear()
            done = await self.flush()
            pause = FLUSH_SECONDS if done else min(2 * pause, _MAX_BACKOFF)
            if not done:
                # A full queue must not turn the backoff into a busy loop.
                await asyncio.sleep(FLUSH_SECONDS)

    async def _write(self, batch: Sequence[Row]) -> bool:
        """Write one batch; what was not written goes back to the front, as far as there is room."""
        written = False
        try:
            async with self._database.write() as session:
                await repository.add_events(session, batch)
            written = True
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("usage_not_written", rows=len(batch), error=type(error).__name__)
        finally:
            # Also when the task is cancelled half-way.
            if not written:
                room = max(0, self._limit - len(self._rows))
                self._rows.extendleft(reversed(batch[len(batch) - min(room, len(batch)) :]))
                self.dropped.inc(max(0, len(batch) - room))
        return written
