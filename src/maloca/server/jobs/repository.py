"""Every query about jobs.

Each change is one UPDATE that says in which state it applies; whoever comes second changes no
row. The same UPDATE gives the event its number, so the row lock keeps a job's events in order.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.db.base import now
from maloca.server.jobs.models import TERMINAL, Job, JobEvent, State

# Any constant of our own: whoever takes jobs from this PostgreSQL database holds it.
_LOCK_KEY: Final = 0x6D616C6F6361 + 1


async def clock(session: AsyncSession) -> dt.datetime:
    """Return the time by which leases are measured: the database's, if others share it."""
    if session.get_bind().dialect.name == "postgresql":
        time: dt.datetime | None = await session.scalar(sa.select(sa.func.clock_timestamp()))
        if time is not None:
            return time.astimezone(dt.UTC)
    return now()


async def lock_queue(session: AsyncSession) -> None:
    """Let one runner at a time take jobs, so that limits per kind hold; until the commit."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))


async def add(session: AsyncSession, job: Job) -> None:
    """Store a new job."""
    session.add(job)
    await session.flush()


async def get_job(session: AsyncSession, job_id: str) -> Job | None:
    """Return a job as it is now."""
    query = sa.select(Job).where(Job.id == job_id).execution_options(populate_existing=True)
    found: Job | None = await session.scalar(query)
    return found


async def lock(session: AsyncSession, job_id: str) -> None:
    """Keep others from changing a job until the commit."""
    await session.execute(sa.select(Job.id).where(Job.id == job_id).with_for_update())


async def lock_leased(session: AsyncSession, lease: str) -> Job | None:
    """Return the job of a lease that holds, and keep others from changing it until the commit."""
    query = sa.select(Job).where(*with_lease(lease)).with_for_update()
    found: Job | None = await session.scalar(query.execution_options(populate_existing=True))
    return found


async def list_jobs(
    session: AsyncSession,
    *,
    owner_id: str | None,
    state: State | None,
    kind: str | None,
    limit: int,
    before: str | None,
) -> Sequence[Job]:
    """Return jobs, newest first.

    Args:
        session: Reads them.
        owner_id: Whose; None for everybody's.
        state: Only those in that state.
        kind: Only those of that kind.
        limit: At most so many.
        before: Only those that come after the job of this id in the list.
    """
    query = sa.select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    if owner_id is not None:
        query = query.where(Job.owner_id == owner_id)
    if state is not None:
        query = query.where(Job.state == state)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if before is not None:
        edge = sa.select(Job.created_at, Job.id).where(Job.id == before).subquery()
        query = query.join(edge, sa.true()).where(
            sa.or_(
                Job.created_at < edge.c.created_at,
                sa.and_(Job.created_at == edge.c.created_at, Job.id < edge.c.id),
            )
        )
    return (await session.scalars(query)).all()


async def events_after(
    session: AsyncSession, job_id: str, sequence: int, limit: int
) -> Sequence[JobEvent]:
    """Return a job's events after that sequence number, in order."""
    query = (
        sa.select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.sequence > sequence)
        .order_by(JobEvent.sequence)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def running_by_kind(session: AsyncSession) -> dict[str, int]:
    """Return how many jobs of each kind run."""
    query = sa.select(Job.kind, sa.func.count()).where(Job.state == "running").group_by(Job.kind)
    return dict((await session.execute(query)).all())


async def first_in_queue(
    session: AsyncSession, kinds: Collection[str], time: dt.datetime
) -> str | None:
    """Return the id of the queued job of these kinds whose turn it is."""
    query = (
        sa.select(Job.id)
        .where(Job.state == "queued", Job.kind.in_(kinds), Job.run_after <= time)
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(1)
    )
    found: str | None = await session.scalar(query)
    return found


async def has_work(session: AsyncSession, kinds: Collection[str], time: dt.datetime) -> bool:
    """Tell whether a job may begin, limits aside, or has lost its runner."""
    queued = sa.and_(Job.state == "queued", Job.kind.in_(kinds), Job.run_after <= time)
    lost = sa.and_(Job.state == "running", Job.lease_until < time)
    return bool(await session.scalar(sa.select(sa.exists().where(sa.or_(queued, lost)))))


async def cancelled(session: AsyncSession, leases: Collection[str]) -> Sequence[str]:
    """Return those of the leases whose job should stop."""
    query = sa.select(Job.lease).where(
        Job.state == "running", Job.lease.in_(leases), Job.cancel_requested
    )
    return [lease for lease in await session.scalars(query) if lease]


async def delete_finished(session: AsyncSession, before: dt.datetime) -> Sequence[str]:
    """Delete jobs that ended before that time, with their events; return their ids."""
    query = (
        sa.delete(Job)
        .where(Job.state.in_(TERMINAL), Job.finished_at < before)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return (await session.execute(query)).scalars().all()


async def expired(session: AsyncSession, time: dt.datetime) -> Sequence[Job]:
    """Return the running jobs whose runner has not renewed its lease in time."""
    query = sa.select(Job).where(Job.state == "running", Job.lease_until < time)
    return (await session.scalars(query)).all()


async def renew(session: AsyncSession, leases: Collection[str], until: dt.datetime) -> set[str]:
    """Extend leases; return those that still hold."""
    query = (
        sa.update(Job)
        .where(Job.state == "running", Job.lease.in_(leases))
        .values(lease_until=until)
        .returning(Job.lease)
        .execution_options(synchronize_session=False)
    )
    return {lease for lease in (await session.execute(query)).scalars() if lease}


async def save(session: AsyncSession, lease: str, **values: Any) -> bool:
    """Change a running job without an event; False if the lease does not hold any more."""
    query = sa.update(Job).where(Job.state == "running", Job.lease == lease).values(**values)
    changed = await session.execute(
        query.returning(Job.id), execution_options={"synchronize_session": False}
    )
    return changed.first() is not None


async def change(
    session: AsyncSession,
    *where: sa.ColumnElement[bool],
    event: str,
    data: dict[str, Any],
    **values: Any,
) -> str | None:
    """Change the one job that fits, and write down what happened.

    Returns:
        Its id; None if no job fits (any more), and then nothing was written.
    """
    query = (
        sa.update(Job)
        .where(*where)
        .values(last_event=Job.last_event + 1, **values)
        .returning(Job.id, Job.last_event)
        .execution_options(synchronize_session=False)
    )
    changed = (await session.execute(query)).first()
    if changed is None:
        return None
    job_id, sequence = changed
    entry = {"job_id": job_id, "sequence": sequence, "type": event, "data": data}
    await session.execute(sa.insert(JobEvent).values(created_at=now(), **entry))
    return str(job_id)


def with_lease(lease: str) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition that this lease holds."""
    return (Job.state == "running", Job.lease == lease)


def with_id(job_id: str, state: State) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition that this job is in that state."""
    return (Job.id == job_id, Job.state == state)
