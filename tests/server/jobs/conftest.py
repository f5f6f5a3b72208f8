"""What tests of jobs share: a queue, and runners as processes of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from maloca.server.db.database import Database
from maloca.server.jobs import service
from maloca.server.jobs.models import Job, JobEvent


class Queue:
    """The jobs of a database, as a test submits and watches them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def submit(self, payload: dict[str, Any] | None = None, **options: Any) -> str:
        options.setdefault("owner_id", None)
        async with self.database.write() as session:
            return (await service.submit(session, "demo", payload or {}, **options)).id

    async def claim(self, runner: str = "runner", seconds: float = 60) -> Job | None:
        async with self.database.write() as session:
            return await service.claim(session, runner=runner, seconds=seconds)

    async def cancel(self, job_id: str) -> Job:
        async with self.database.write() as session:
            return await service.cancel(session, job_id, owner_id=None)

    async def get(self, job_id: str) -> Job:
        async with self.database.read() as session:
            return await service.get_job_or_raise(session, job_id, owner_id=None)

    async def events(self, job_id: str) -> list[JobEvent]:
        async with self.database.read() as session:
            return list(await service.events_after(session, job_id, 0))

    async def types(self, job_id: str) -> list[str]:
        """Return what happened to a job, without reports of progress."""
        return [event.type for event in await self.events(job_id) if event.type != "progress"]

    async def until(
        self, job_id: str, condition: Callable[[Job], Any], what: str = "end", seconds: float = 60
    ) -> Job:
        """Wait for something that must happen to a job, however slow the machine is."""
        deadline = time.monotonic() + seconds
        while not condition(job := await self.get(job_id)):
            if time.monotonic() > deadline:
                pytest.fail(f"no {what} within {seconds} s: {job.state}, {job.error}")
            await asyncio.sleep(0.05)
        return job


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)
