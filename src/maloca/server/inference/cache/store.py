"""Answers in memory, and behind it in the database for restarts and other replicas.

Writes happen in the background, so that no answer waits for the database; one that does not answer
costs the store behind memory and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from maloca.core.completer import Completion
from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.inference.cache import repository
from maloca.server.inference.cache.memory import MemoryCache

FLUSH_SECONDS: Final = 1.0
PRUNE_SECONDS: Final = 60.0
STOP_SECONDS: Final = 5.0
_MAX_WAITING: Final = 1000
_DATABASE_FACTOR: Final = 8
_OVERHEAD: Final = 256

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Completion).decode

log = structlog.get_logger(__name__)


class AnswerStore:
    """Keeps whole answers for a while.

    The database may hold `_DATABASE_FACTOR` times what memory may, for all replicas together.
    """

    def __init__(self, database: Database, *, max_bytes: int, seconds: float) -> None:
        self._database = database
        self._max_bytes = max_bytes
        self._seconds = seconds
        self.memory = MemoryCache(max_bytes=max_bytes)
        self._new: dict[str, dict[str, Any]] = {}
        self._used: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: str) -> Completion | None:
        """Return an answer that is still good, from memory or else from the database."""
        found = self.memory.get(key)
        if found is None:
            found = await self._load(key)
        if found is not None and len(self._used) < _MAX_WAITING:
            self._used.add(key)
        return found

    def put(self, key: str, tenant: str, answer: Completion) -> None:
        """Keep an answer."""
        body = _encode(answer)
        size = len(body) + _OVERHEAD
        self.memory.put(key, answer, size=size, seconds=self._seconds)
        if len(self._new) < _MAX_WAITING and size <= self._max_bytes:
            present = now()
            self._new[key] = {
                "key": key,
                "tenant": tenant,
                "body": body,
                "size": size,
                "used_at": present,
                "expires_at": present + dt.timedelta(seconds=self._seconds),
            }

    async def _load(self, key: str) -> Completion | None:
        try:
            async with self._database.read() as session:
                row = await repository.get(session, key, now())
            if row is None:
                return None
            answer = _decode(row.body)
        except (SQLAlchemyError, OSError, msgspec.MsgspecError) as error:
            log.warning("cached_answer_not_read", error=type(error).__name__)
            return None
        left = (row.expires_at - now()).total_seconds()
        self.memory.put(key, answer, size=row.size, seconds=left)
        return answer

    def start(self) -> None:
        """Begin to write to the database."""
        self._task = asyncio.create_task(self._run(), name="answer-cache")

    async def stop(self) -> None:
        """Write what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()

    async def flush(self) -> None:
        """Write new answers and uses now."""
        new, self._new = self._new, {}
        used, self._used = self._used - new.keys(), set()
        if not new and not used:
            return
        try:
            async with self._database.write() as session:
                if new:
                    await repository.put(session, list(new.values()))
                if used:
                    await repository.touch(session, used, now())
        except (SQLAlchemyError, OSError) as error:
            # A cache may forget; it must not grow while it waits.
            log.warning("cached_answers_not_written", error=type(error).__name__)

    async def prune(self) -> None:
        """Remove from the database what is too old, and what no longer fits."""
        try:
            async with self._database.write() as session:
                limit = _DATABASE_FACTOR * self._max_bytes
                await repository.prune(session, now(), max_bytes=limit)
        except (SQLAlchemyError, OSError) as error:
            log.warning("cached_answers_not_pruned", error=type(error).__name__)

    async def _run(self) -> None:
        while True:
            await self.prune()
            for _ in range(int(PRUNE_SECONDS / FLUSH_SECONDS)):
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
