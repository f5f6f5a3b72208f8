"""Jobs under `maloca up`, whose processes are killed one after the other."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.cli.supervised import alive, wait_until
from tests.cli.test_up import Up
from tests.conftest import fake_store

from maloca.asgi import records
from maloca.server.db.database import Database
from maloca.server.jobs import service
from maloca.server.jobs.models import Job
from maloca.server.settings import ServerSettings

pytestmark = pytest.mark.process

T = TypeVar("T")


def with_database(work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Work with the database of the home while Maloca runs."""

    async def run() -> T:
        database = Database(ServerSettings.load().database)
        try:
            return await work(database)
        finally:
            await database.aclose()

    return asyncio.run(run())


def submit(**payload: Any) -> str:
    async def work(database: Database) -> str:
        async with database.write() as session:
            job = await service.submit(session, "demo", payload, owner_id=None, max_attempts=9)
            return job.id

    return with_database(work)


def get(job_id: str) -> Job:
    async def work(database: Database) -> Job:
        async with database.read() as session:
            return await service.get_job_or_raise(session, job_id, owner_id=None)

    return with_database(work)


def kill(name: str) -> None:
    record = records.find(name)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)


def test_a_job_outlives_the_processes_around_it(home: Path) -> None:
    fake_store(home / "models")
    up = Up(home, "--no-open", MALOCA_JOB_LEASE="2")
    try:
        up.until_ready()
        job_id = submit(steps=8, seconds=0.25)
        wait_until(lambda: get(job_id).checkpoint, "checkpoint")
        kill("server")
        kill("jobs")
        wait_until(lambda: "jobs is back." in up.errors, "return of the job process")
        wait_until(lambda: get(job_id).is_over, "end of the job")
        job = get(job_id)
        assert (job.state, job.attempts) == ("succeeded", 2)
        assert job.result is not None
        assert job.result["resumed_at"] >= 1
        assert (
            (home / "logs" / "jobs" / f"{job_id}.log").read_text("utf-8").endswith("step 8 of 8\n")
        )

        # Stopping in order gives a job back, and leaves none of its processes behind.
        job_id = submit(seconds=600)
        wait_until(lambda: get(job_id).state == "running", "start of the job")
        family = up.family()
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0
        assert alive(family) == []
        job = get(job_id)
        assert (job.state, job.attempts) == ("queued", 0)
        assert "Traceback" not in up.errors
    finally:
        up.process.kill()
        up.process.wait()
