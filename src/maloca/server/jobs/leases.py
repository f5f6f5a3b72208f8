"""What a runner may do to a job: take it, keep it, report on it, and end it exactly once.

The lease is a secret that each attempt gets anew. Whoever does not hold it changes nothing, so a
runner that was thought dead and was only slow does no harm.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.ids import new_id
from maloca.server.db.base import now
from maloca.server.jobs import repository
from maloca.server.jobs.kinds import KINDS
from maloca.server.jobs.models import MESSAGE_LENGTH, Job
from maloca.server.jobs.small_json import small_json

_MOST_DELAY: Final = 300.0


class LeaseLost(Exception):
    """Another runner has the job, or it is over: whoever still works on it must stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why an attempt did not end well.

    Attributes:
        code: A stable identifier to branch on.
        message: What happened, for the job's owner.
    """

    code: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {"code": self.code, "message": self.message}


async def claim(
    session: AsyncSession, *, runner: str, seconds: float, kinds: Collection[str] = tuple(KINDS)
) -> Job | None:
    """Take the job whose turn it is, for as long as its lease lasts.

    Jobs whose runner is gone go back to the queue first, or end if that was their last attempt.

    Args:
        session: In a write transaction.
        runner: The name of whoever takes it.
        seconds: How long the lease lasts unless it is renewed.
        kinds: What the runner can do.

    Returns:
        The job with its new lease; None if there is nothing to do.
    """
    await repository.lock_queue(session)
    for job in await repository.expired(session, await repository.clock(session)):
        if job.lease is not None:
            lost = Problem(code="runner_lost", message=f"The runner {job.runner} is gone.")
            await retry_or_fail(session, job.lease, lost, first_delay=0)
    running = await repository.running_by_kind(session)
    open_kinds = [name for name in kinds if running.get(name, 0) < KINDS[name].limit]
    time = await repository.clock(session)
    job_id = await repository.first_in_queue(session, open_kinds, time)
    if job_id is None:
        return None
    taken = await repository.change(
        session,
        *repository.with_id(job_id, "queued"),
        event="started",
        data={"runner": runner},
        state="running",
        lease=new_id(),
        lease_until=time + dt.timedelta(seconds=seconds),
        runner=runner,
        attempts=Job.attempts + 1,
        started_at=sa.func.coalesce(Job.started_at, time),
    )
    # Whoever cancels a queued job does not hold the queue's lock, and may have been faster.
    return await repository.get_job(session, taken) if taken else None


async def has_work(session: AsyncSession, kinds: Collection[str] = tuple(KINDS)) -> bool:
    """Tell whether `claim` may find something to do."""
    return await repository.has_work(session, kinds, await repository.clock(session))


async def renew(session: AsyncSession, leases: Collection[str], seconds: float) -> set[str]:
    """Extend leases; return those that still hold."""
    until = await repository.clock(session) + dt.timedelta(seconds=seconds)
    return await repository.renew(session, leases, until)


async def report(session: AsyncSession, lease: str, fraction: float, message: str) -> None:
    """Write down how far a running job is.

    Raises:
        LeaseLost: It is not this lease's job any more.
    """
    told = {"progress": min(1.0, max(0.0, fraction)), "message": message[:MESSAGE_LENGTH]}
    where = repository.with_lease(lease)
    if await repository.change(session, *where, event="progress", data=told, **told) is None:
        raise LeaseLost


async def save(session: AsyncSession, lease: str, checkpoint: Mapping[str, Any]) -> None:
    """Keep from where a running job can go on.

    Raises:
        LeaseLost: It is not this lease's job any more.
        InvalidRequest: The checkpoint is no JSON, or too large.
    """
    if not await repository.save(session, lease, checkpoint=small_json(checkpoint, "checkpoint")):
        raise LeaseLost


async def end(
    session: AsyncSession,
    lease: str,
    state: Literal["succeeded", "failed", "cancelled"],
    *,
    result: Mapping[str, Any] | None = None,
    problem: Problem | None = None,
) -> bool:
    """End a running job for good; False if it is not this lease's job any more."""
    values: dict[str, Any] = {"state": state, "lease": None, "lease_until": None}
    data: dict[str, Any] = {}
    if state == "succeeded":
        values |= {"result": result, "progress": 1.0, "error": None}
        data = {"result": result}
    elif problem is not None:
        values["error"] = problem.to_dict()
        data = {"error": problem.to_dict()}
    where = repository.with_lease(lease)
    ended = await repository.change(
        session, *where, event=state, data=data, finished_at=now(), **values
    )
    return ended is not None


async def retry_or_fail(
    session: AsyncSession, lease: str, problem: Problem, *, first_delay: float
) -> bool:
    """End an attempt that went wrong: queue the job again, unless it was the last one.

    Args:
        session: In a write transaction.
        lease: Of the attempt.
        problem: What went wrong.
        first_delay: Seconds until the second attempt; doubles with each further one.

    Returns:
        False if it is not this lease's job any more.
    """
    job = await repository.lock_leased(session, lease)
    if job is None:
        return False
    if job.cancel_requested:
        return await end(session, lease, "cancelled")
    if job.attempts >= job.max_attempts:
        return await end(session, lease, "failed", problem=problem)
    delay = min(first_delay * 2 ** (job.attempts - 1), _MOST_DELAY)
    return await _requeue(session, lease, problem, delay=delay, attempts=job.attempts)


async def give_back(session: AsyncSession, lease: str) -> bool:
    """Queue a job again whose runner stops in order; that costs it no attempt."""
    job = await repository.lock_leased(session, lease)
    if job is None:
        return False
    if job.cancel_requested:
        return await end(session, lease, "cancelled")
    stopped = Problem(code="runner_stopped", message="The runner was stopped.")
    return await _requeue(session, lease, stopped, delay=0, attempts=job.attempts - 1)


async def _requeue(
    session: AsyncSession, lease: str, problem: Problem, *, delay: float, attempts: int
) -> bool:
    time = await repository.clock(session)
    queued = await repository.change(
        session,
        *repository.with_lease(lease),
        event="interrupted",
        data={"error": problem.to_dict()},
        state="queued",
        lease=None,
        lease_until=None,
        runner=None,
        attempts=attempts,
        error=problem.to_dict(),
        run_after=time + dt.timedelta(seconds=delay),
    )
    return queued is not None
