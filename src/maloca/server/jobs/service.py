"""The rules of jobs: who may see them, how they are taken, and how each ends exactly once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import InvalidRequest, NotFound
from maloca.core.ids import new_id
from maloca.server.db.base import now
from maloca.server.jobs import repository
from maloca.server.jobs.kinds import KINDS, get_kind_or_raise
from maloca.server.jobs.models import MESSAGE_LENGTH, Job, JobEvent, State

MAX_STATE_BYTES: Final = 256 * 1024
_MOST_DELAY: Final = 300.0


class JobNotFound(NotFound):
    """No job has that id, or it is somebody else's."""

    code = "job_not_found"


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


async def submit(
    session: AsyncSession,
    kind: str,
    payload: Mapping[str, Any],
    *,
    owner_id: str | None,
    priority: int = 0,
    max_attempts: int | None = None,
) -> Job:
    """Queue a job; it may begin once the session's transaction is committed.

    Raises:
        InvalidRequest: The kind is not known, or the payload is no JSON or too large.
    """
    known = get_kind_or_raise(kind)
    job = Job(
        id=new_id(),
        kind=kind,
        owner_id=owner_id,
        payload=small_json(payload, "payload"),
        priority=priority,
        max_attempts=max_attempts or known.max_attempts,
        run_after=now(),
    )
    await repository.add(session, job)
    await repository.change(session, *repository.with_id(job.id, "queued"), event="queued", data={})
    await session.refresh(job)
    return job


async def get_job_or_raise(session: AsyncSession, job_id: str, *, owner_id: str | None) -> Job:
    """Return a job that this owner may see; None sees every job.

    Raises:
        JobNotFound: There is none.
    """
    job = await repository.get_job(session, job_id)
    if job is None or (owner_id is not None and job.owner_id != owner_id):
        raise JobNotFound(f"There is no job {job_id[:64]!r}.", param="job_id")
    return job


async def exists(session: AsyncSession, job_id: str) -> bool:
    """Tell whether there is such a job."""
    return await repository.get_job(session, job_id) is not None


async def cancel(session: AsyncSession, job_id: str, *, owner_id: str | None) -> Job:
    """End a queued job, or ask a running one to stop; one that is over stays as it is.

    Raises:
        JobNotFound: There is none that this owner may see.
    """
    await get_job_or_raise(session, job_id, owner_id=owner_id)
    # Between two UPDATEs a job might go from running back to queued, and neither would fit.
    await repository.lock(session, job_id)
    ended = await repository.change(
        session,
        *repository.with_id(job_id, "queued"),
        event="cancelled",
        data={},
        state="cancelled",
        cancel_requested=True,
        finished_at=now(),
    )
    if ended is None:
        await repository.change(
            session,
            *repository.with_id(job_id, "running"),
            Job.cancel_requested.is_(False),
            event="cancelling",
            data={},
            cancel_requested=True,
        )
    return await get_job_or_raise(session, job_id, owner_id=owner_id)


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


async def list_jobs(
    session: AsyncSession,
    *,
    owner_id: str | None,
    state: State | None = None,
    kind: str | None = None,
    limit: int = 50,
    before: str | None = None,
) -> Sequence[Job]:
    """Return an owner's jobs, or everybody's for None, newest first."""
    return await repository.list_jobs(
        session, owner_id=owner_id, state=state, kind=kind, limit=limit, before=before
    )


async def forget_old(session: AsyncSession, *, days: float) -> Sequence[str]:
    """Delete jobs that have been over for so many days; return their ids."""
    return await repository.delete_finished(session, now() - dt.timedelta(days=days))


async def events_after(
    session: AsyncSession, job_id: str, sequence: int, limit: int = 500
) -> Sequence[JobEvent]:
    """Return what happened to a job after that event, in order."""
    return await repository.events_after(session, job_id, sequence, limit)


def small_json(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a copy as the database keeps it.

    Raises:
        InvalidRequest: It cannot be written as JSON, or is too large.
    """
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The {name} is no JSON: {error}.", param=name) from error
    if len(text) > MAX_STATE_BYTES:
        raise InvalidRequest(
            f"The {name} has {len(text):,} bytes; {MAX_STATE_BYTES:,} are possible.",
            param=name,
            hint="Keep what is large in a file or a table of its own, and its name here.",
        )
    copy: dict[str, Any] = msgspec.json.decode(text)
    return copy
