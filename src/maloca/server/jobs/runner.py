"""Takes jobs from the queue and keeps their subprocesses.

Any number of runners share one database. What a runner may do to a job depends on the job's
lease alone, so one that was thought dead and was only slow can do no harm.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from maloca.server.db.database import Database
from maloca.server.jobs import leases, repository, service
from maloca.server.jobs.job_process import JobProcess, describe_exit
from maloca.server.jobs.leases import Problem
from maloca.server.jobs.models import Job
from maloca.server.jobs.program import Order

log = structlog.get_logger(__name__)

# What a database that is away for a moment raises.
_AWAY = (SQLAlchemyError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times in seconds.

    Attributes:
        poll: Between two looks at the queue.
        lease: After which a job whose runner is silent goes to another one.
        grace: Between asking a job to stop and killing it.
        retry: Until the second attempt at a job; doubles with each further one.
        tidy: Between two looks for old jobs to forget.
        keep_days: In days, how long jobs that are over are kept.
    """

    poll: float = 0.5
    lease: float = 30.0
    grace: float = 10.0
    retry: float = 5.0
    tidy: float = 3600.0
    keep_days: float = 90.0

    @property
    def renew(self) -> float:
        """How often leases are renewed: three more times may fail."""
        return self.lease / 4


@dataclass(slots=True)
class _Running:
    """A job in work.

    Attributes:
        job: As it was taken.
        lease: Its lease.
        renewed: On the monotonic clock, when its lease was renewed last.
        process: None until it has started.
        asked: On the monotonic clock, when it was asked to stop.
        task: Waits for its end.
    """

    job: Job
    lease: str
    renewed: float
    process: JobProcess | None = None
    asked: float | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Runner:
    """Runs jobs until it is told to stop."""

    def __init__(
        self, database: Database, *, name: str, slots: int, logs: Path, times: Times | None = None
    ) -> None:
        """Prepare.

        Args:
            database: Where the jobs are.
            name: The runner's name in jobs and logs.
            slots: How many jobs it runs at once.
            logs: Folder of the jobs' output, `ID.log` each.
            times: Other than the defaults.
        """
        self._database = database
        self._name = name
        self._slots = slots
        self._logs = logs
        self._times = times or Times()
        self._running: dict[str, _Running] = {}
        self._tidied: float | None = None
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """Take no more jobs, give back those in work, then return from `run`."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Run jobs until `stop`; a database that is away is waited for."""
        try:
            while not self._stop.is_set():
                try:
                    await self._renew()
                    await self._fill()
                    await self._tidy()
                except _AWAY as error:
                    log.warning("database_away", reason=type(error).__name__)
                self._end_overdue()
                await self._pause()
        finally:
            await self._give_all_back()

    async def _fill(self) -> None:
        """Begin jobs while there is room and something to do."""
        while len(self._running) < self._slots and not self._stop.is_set():
            # Most looks find nothing, and looking takes no lock.
            async with self._database.read() as session:
                if not await leases.has_work(session):
                    return
            async with self._database.write() as session:
                job = await leases.claim(session, runner=self._name, seconds=self._times.lease)
            if job is None or job.lease is None:
                return
            running = _Running(job, job.lease, renewed=time.monotonic())
            self._running[running.lease] = running
            running.task = asyncio.ensure_future(self._keep(running))

    async def _keep(self, running: _Running) -> None:
        """Start a job, wait for its end, and see that the database knows how it ended."""
        job = running.job
        order = Order(job.id, running.lease, self._times.retry)
        log.info("job_started", job=job.id, kind=job.kind, attempt=job.attempts)
        try:
            running.process = await JobProcess.start(order, self._log_of(job.id))
            how = describe_exit(await running.process.wait())
        except OSError as error:
            how = f"could not be started: {error}"
        log.info("job_process_ended", job=job.id, how=how)
        try:
            async with self._database.write() as session:
                if self._stop.is_set():
                    await leases.give_back(session, running.lease)
                else:
                    crashed = Problem(code="job_crashed", message=f"The job's process {how}.")
                    await leases.retry_or_fail(
                        session, running.lease, crashed, first_delay=self._times.retry
                    )
        except _AWAY as error:
            # The lease ends by itself, and whoever takes the next job settles this one.
            log.warning("job_not_settled", job=job.id, reason=type(error).__name__)
        finally:
            self._running.pop(running.lease, None)
            self._wake.set()

    async def _renew(self) -> None:
        """Extend the leases in time; stop jobs that were cancelled or are somebody else's."""
        if not self._running:
            return
        now = time.monotonic()
        if any(now - each.renewed >= self._times.renew for each in self._running.values()):
            asked = list(self._running)
            async with self._database.write() as session:
                held = await leases.renew(session, asked, self._times.lease)
            for lease in asked:
                if (running := self._running.get(lease)) is None:
                    continue
                if lease in held:
                    running.renewed = now
                elif running.process is not None:
                    # It has ended by itself just now, or another runner has it.
                    running.process.kill()
        async with self._database.read() as session:
            to_stop = await repository.cancelled(session, list(self._running))
        for lease in to_stop:
            if running := self._running.get(lease):
                self._ask(running)

    def _end_overdue(self) -> None:
        """Kill what does not stop, and what another runner may take at any moment."""
        now = time.monotonic()
        for running in self._running.values():
            too_slow = running.asked is not None and now - running.asked >= self._times.grace
            if (too_slow or now - running.renewed >= self._times.lease) and running.process:
                running.process.kill()

    def _ask(self, running: _Running) -> None:
        if running.process is not None and running.asked is None:
            running.asked = time.monotonic()
            running.process.ask()

    async def _tidy(self) -> None:
        """Forget old jobs, and remove their output."""
        now = time.monotonic()
        if self._tidied is not None and now - self._tidied < self._times.tidy:
            return
        self._tidied = now
        async with self._database.write() as session:
            old = await service.forget_old(session, days=self._times.keep_days)
        for job_id in old:
            self._log_of(job_id).unlink(missing_ok=True)

    def _log_of(self, job_id: str) -> Path:
        return self._logs / f"{job_id}.log"

    async def _pause(self) -> None:
        """Wait until it is time to look again."""
        try:
            await asyncio.wait_for(self._wake.wait(), self._times.poll)
        except TimeoutError:
            return
        self._wake.clear()

    async def _give_all_back(self) -> None:
        """Stop every job and give it back to the queue."""
        self._stop.set()
        deadline = time.monotonic() + self._times.grace
        while tasks := [each.task for each in self._running.values() if each.task]:
            for running in list(self._running.values()):
                self._ask(running)
                if time.monotonic() >= deadline and running.process is not None:
                    running.process.kill()
            await asyncio.wait(tasks, timeout=0.1)
