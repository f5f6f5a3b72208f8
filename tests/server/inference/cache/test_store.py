"""Answers in memory and in the database: bounded, aged, kept over restarts, never in the way."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import func, select, update
from tests.observe import eventually
from tests.server.inference.cache.answers import answer

from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.db.tables import Base
from maloca.server.inference.cache.memory import MemoryCache
from maloca.server.inference.cache.models import CachedAnswer
from maloca.server.inference.cache.store import AnswerStore

KEY = "a" * 64


def store(database: Database, *, max_bytes: int = 100_000, seconds: float = 3600) -> AnswerStore:
    return AnswerStore(database, max_bytes=max_bytes, seconds=seconds)


async def rows(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(CachedAnswer)) or 0


async def test_an_answer_outlives_the_process(database: Database) -> None:
    first = store(database)
    first.put(KEY, "user:a", answer())
    assert await first.get(KEY) == answer()
    await first.stop()
    assert await store(database).get(KEY) == answer()
    assert await store(database).get("b" * 64) is None


async def test_the_newest_answer_replaces_the_old(database: Database) -> None:
    for text in ("one", "two"):
        kept = store(database)
        kept.put(KEY, "user:a", answer(text))
        await kept.flush()
    found = await store(database).get(KEY)
    assert found is not None
    assert found.text == "two"
    assert await rows(database) == 1


async def test_answers_age_in_the_database_too(database: Database) -> None:
    kept = store(database)
    kept.put(KEY, "user:a", answer())
    await kept.flush()
    async with database.write() as session:
        await session.execute(update(CachedAnswer).values(expires_at=now()))
    assert await store(database).get(KEY) is None
    await kept.prune()
    assert await rows(database) == 0


async def test_the_least_recently_used_give_way(database: Database) -> None:
    kept = store(database, max_bytes=1000)
    for number in range(60):
        kept.put(f"{number:064}", "user:a", answer("x" * 100))
    await kept.flush()
    first, last = f"{0:064}", f"{59:064}"
    old = now() - dt.timedelta(hours=1)
    async with database.write() as session:
        await session.execute(update(CachedAnswer).values(used_at=old))
    # Who is asked for again is recently used.
    reader = store(database, max_bytes=1000)
    assert await reader.get(first) is not None
    await reader.flush()
    await kept.prune()
    left = await rows(database)
    async with database.read() as session:
        size = await session.scalar(select(func.sum(CachedAnswer.size)))
    assert 0 < left < 60
    assert size is not None
    assert size <= 8 * 1000
    assert await store(database).get(first) is not None
    assert await store(database).get(last) is None


async def test_a_database_that_is_gone_costs_only_the_cache(database: Database) -> None:
    kept = store(database)
    async with database.write() as session:
        connection = await session.connection()
        await connection.run_sync(Base.metadata.drop_all)
    assert await kept.get(KEY) is None
    kept.put(KEY, "user:a", answer())
    await kept.flush()
    await kept.prune()
    assert await kept.get(KEY) == answer()
    await kept.stop()


async def test_a_row_that_cannot_be_read_is_no_answer(database: Database) -> None:
    kept = store(database)
    kept.put(KEY, "user:a", answer())
    await kept.flush()
    async with database.write() as session:
        await session.execute(update(CachedAnswer).values(body=b"\xc1"))
    assert await store(database).get(KEY) is None


async def test_what_runs_in_the_background_writes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maloca.server.inference.cache.store.FLUSH_SECONDS", 0.01)
    kept = store(database)
    kept.start()
    kept.put(KEY, "user:a", answer())

    async def written() -> bool:
        return await rows(database) == 1

    await eventually(written)
    await kept.stop()


class Memory(RuleBasedStateMachine):
    """The memory against a plain list, least recently used first."""

    @initialize(limit=st.integers(1, 10))
    def begin(self, limit: int) -> None:
        self.now = 0.0
        self.limit = limit
        self.memory = MemoryCache(max_bytes=limit, clock=lambda: self.now)
        self.kept: list[tuple[str, int, float]] = []

    @rule(key=st.sampled_from("abcde"), size=st.integers(1, 6), seconds=st.integers(0, 9))
    def put(self, key: str, size: int, seconds: int) -> None:
        self.memory.put(key, answer(key), size=size, seconds=seconds)
        self.kept = [entry for entry in self.kept if entry[0] != key]
        if size <= self.limit and seconds > 0:
            self.kept.append((key, size, self.now + seconds))
        while sum(size for _, size, _ in self.kept) > self.limit:
            self.kept.pop(0)

    @rule(key=st.sampled_from("abcde"))
    def get(self, key: str) -> None:
        found = self.memory.get(key)
        entry = next((entry for entry in self.kept if entry[0] == key), None)
        if entry is not None:
            self.kept.remove(entry)
        if entry is None or entry[2] <= self.now:
            assert found is None
            return
        self.kept.append(entry)
        assert found == answer(key)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "memory"):
            assert self.memory.bytes == sum(size for _, size, _ in self.kept) <= self.limit
            assert len(self.memory) == len(self.kept)


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
