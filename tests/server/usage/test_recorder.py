"""Rows of usage are written in the background, whatever the database does."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, text
from tests.observe import eventually

from maloca.core.ids import new_id
from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.usage import recorder as module
from maloca.server.usage import repository, service
from maloca.server.usage.models import UsageEvent
from maloca.server.usage.recorder import UsageRecorder


def row(**values: Any) -> dict[str, Any]:
    present = now()
    return {
        "id": new_id(),
        "at": present,
        "day": present.date(),
        "request_id": "r",
        "user_id": "ana",
        "key_id": None,
        "route": "/predict",
        "provider": "engine",
        "model": "fake",
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "ttft_ms": 10.0,
        "duration_ms": 30.0,
        "status": "ok",
        "error": "",
        "cached": False,
    } | values


async def rows(database: Database) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(UsageEvent)) or 0


class Watched:
    """A recorder and its counters."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.recorder = UsageRecorder(database, self.registry, **options)

    @property
    def dropped(self) -> float | None:
        return self.registry.get_sample_value("maloca_usage_rows_dropped_total")

    @property
    def waiting(self) -> float | None:
        return self.registry.get_sample_value("maloca_usage_rows_waiting")


async def rename(database: Database, old: str, new: str) -> None:
    """Take the table away, or bring it back: to a writer the database is then broken."""
    async with database.write() as session:
        await session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


async def test_stopping_writes_what_waits(database: Database) -> None:
    watched = Watched(database)
    watched.recorder.start()
    for _ in range(1234):
        watched.recorder.record(row())
    await watched.recorder.stop()
    assert await rows(database) == 1234
    assert (watched.dropped, watched.waiting) == (0, 0)


async def test_rows_are_written_while_it_runs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    watched = Watched(database)
    watched.recorder.start()
    watched.recorder.record(row())

    async def written() -> bool:
        return await rows(database) == 1

    await eventually(written)
    await watched.recorder.stop()


async def test_a_database_that_comes_back_gets_everything(database: Database) -> None:
    watched = Watched(database)
    for number in range(700):
        watched.recorder.record(row(request_id=str(number)))
    await rename(database, "usage_events", "away")
    assert not await watched.recorder.flush()
    watched.recorder.record(row(request_id="700"))
    assert watched.waiting == 701
    await rename(database, "away", "usage_events")
    assert await watched.recorder.flush()
    assert await rows(database) == 701
    assert watched.dropped == 0


async def test_what_has_no_room_is_counted(database: Database) -> None:
    watched = Watched(database, limit=10)
    await rename(database, "usage_events", "away")
    for number in range(10):
        watched.recorder.record(row(request_id=str(number)))
    assert not await watched.recorder.flush()
    for number in range(10, 13):
        watched.recorder.record(row(request_id=str(number)))
    assert (watched.dropped, watched.waiting) == (3, 10)
    await rename(database, "away", "usage_events")
    await watched.recorder.stop()
    async with database.read() as session:
        kept = (await session.scalars(select(UsageEvent.request_id))).all()
    assert sorted(map(int, kept)) == list(range(3, 13)), "the newest are kept"


async def test_a_stop_without_a_database_ends_and_counts_the_loss(database: Database) -> None:
    watched = Watched(database)
    watched.recorder.start()
    watched.recorder.record(row())
    await rename(database, "usage_events", "away")
    await watched.recorder.stop()
    assert (watched.dropped, watched.waiting) == (1, 0)


async def test_a_batch_may_come_twice(database: Database) -> None:
    batch = [row(), row()]
    for _ in range(2):
        async with database.write() as session:
            await repository.add_events(session, batch)
    assert await rows(database) == 2


async def test_totals_add_up_by_day_model_and_user(database: Database) -> None:
    batch = [
        row(),
        row(cached=True, prompt_tokens=0, completion_tokens=0, ttft_ms=None),
        row(status="failed", completion_tokens=0),
        row(model="other"),
        row(user_id="luis", status="rate_limited", ttft_ms=None),
        row(user_id=None, status="cancelled"),
        row(day=now().date().replace(year=2020)),
    ]
    async with database.write() as session:
        await repository.add_events(session, batch)
    async with database.read() as session:
        own = await service.of_user(session, "ana", days=7)
        everyone = await service.of_everyone(session, days=1)
    fake, other = own
    assert (fake.model, fake.requests, fake.cached, fake.failed) == ("fake", 3, 1, 1)
    assert (fake.prompt_tokens, fake.completion_tokens) == (6, 2)
    assert (fake.mean_ttft_ms, fake.mean_duration_ms) == (10, 30)
    assert (other.model, other.requests) == ("other", 1)
    found = {(total.user_id, total.model): total for total in everyone}
    assert set(found) == {("ana", "fake"), ("ana", "other"), ("luis", "fake"), (None, "fake")}
    assert found["luis", "fake"].rate_limited == 1
    assert found["luis", "fake"].mean_ttft_ms is None
    assert found[None, "fake"].cancelled == 1
