"""What a job's function is given: its payload, and how to tell how far it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from maloca.server.db.database import Database
from maloca.server.jobs import leases
from maloca.server.jobs.models import Job

_REPORT_SECONDS: Final = 1.0


class JobContext:
    """One attempt at a job, inside its own subprocess.

    Attributes:
        job_id: The job's id.
        payload: What it was submitted with.
        state: What an earlier attempt saved last; None at the first.
        attempt: 1 for the first.
        owner_id: Whose job it is; None for the house's own.
        database: For the job's own data. What it writes should be harmless to write again: an
            attempt may be killed between its write and its checkpoint.
        cancelled: Whether it should stop. The function's task is cancelled as well; code in a
            thread, which that does not reach, looks here.
    """

    def __init__(self, job: Job, lease: str, database: Database) -> None:
        self.job_id = job.id
        self.payload: Mapping[str, Any] = job.payload
        self.state: dict[str, Any] | None = job.checkpoint
        self.attempt = job.attempts
        self.owner_id = job.owner_id
        self.database = database
        self.cancelled = False
        self._lease = lease
        self._reported: float | None = None

    async def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the job is; reports less than a second apart are left out.

        Args:
            fraction: From 0 to 1.
            message: For people, up to 500 characters.

        Raises:
            LeaseLost: Another runner has the job; let this exception through.
        """
        time_ = time.monotonic()
        if self._reported is not None and time_ - self._reported < _REPORT_SECONDS:
            return
        self._reported = time_
        async with self.database.write() as session:
            await leases.report(session, self._lease, fraction, message)

    async def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save from where a later attempt can go on.

        Args:
            state: Up to 256 KiB of JSON.

        Raises:
            LeaseLost: Another runner has the job; let this exception through.
            InvalidRequest: The state is no JSON, or too large.
        """
        async with self.database.write() as session:
            await leases.save(session, self._lease, state)
