"""What tests of jobs share: a queue, and runners as processes of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from maloca.server.db.database import Database
from maloca.server.jobs import leases, service
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
            return await leases.claim(session, runner=runner, seconds=seconds)

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


class Runners:
    """Job processes that a test starts, kills and stops."""

    def __init__(self, url: str, folder: Path) -> None:
        self._env = {
            **os.environ,
            "MALOCA_DATABASE_URL": url,
            "MALOCA_HOME": str(folder / "home"),
            "MALOCA_JOB_LEASE": "2",
            "MALOCA_JOB_RETRY": "0",
        }
        self.logs = folder / "home" / "logs" / "jobs"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, **env: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "maloca.server.jobs.process", "--lifeline"],
            stdin=subprocess.PIPE,
            env={**self._env, **env},
        )
        self.running.append(process)
        return process

    def end(self) -> None:
        """End every process by the end of its lifeline, as when a supervisor dies."""
        for process in self.running:
            if process.stdin:
                process.stdin.close()
        for process in self.running:
            process.wait(60)


@pytest.fixture
def runners(migrated_database_url: str, tmp_path: Path) -> Iterator[Runners]:
    started = Runners(migrated_database_url, tmp_path)
    yield started
    started.end()


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return the job subprocesses of a runner."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
