"""The rules of jobs for their owners; what runners do is in `leases.py`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import NotFound
from maloca.core.ids import new_id
from maloca.server.db.base import now
from maloca.server.jobs import repository
from maloca.server.jobs.kinds import get_kind_or_raise
from maloca.server.jobs.models import Job, JobEvent, State
from maloca.server.jobs.small_json import small_json


class JobNotFound(NotFound):
    """No job has that id, or it is somebody else's."""

    code = "job_not_found"


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
