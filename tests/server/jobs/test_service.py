"""The rules of jobs, on both databases."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
import sqlalchemy as sa
from tests.server.jobs.conftest import Queue

from maloca.core.errors import InvalidRequest
from maloca.server.accounts.models import User
from maloca.server.db.base import now
from maloca.server.jobs import leases, service
from maloca.server.jobs.leases import LeaseLost, Problem
from maloca.server.jobs.models import Job

PROBLEM = Problem(code="job_crashed", message="It fell over.")


async def leased(queue: Queue) -> tuple[Job, str]:
    job = await queue.claim()
    assert job is not None
    assert job.lease is not None
    return job, job.lease


async def expire(queue: Queue, job_id: str) -> None:
    async with queue.database.write() as session:
        past = now() - dt.timedelta(seconds=1)
        await session.execute(sa.update(Job).where(Job.id == job_id).values(lease_until=past))


async def test_a_job_from_queue_to_end(queue: Queue) -> None:
    job_id = await queue.submit({"steps": 2})
    job, lease = await leased(queue)
    assert (job.id, job.state, job.attempts, job.runner) == (job_id, "running", 1, "runner")
    async with queue.database.write() as session:
        await leases.report(session, lease, 0.5, "half")
        await leases.save(session, lease, {"step": 1})
        assert await leases.end(session, lease, "succeeded", result={"counted": 2})
    job = await queue.get(job_id)
    assert (job.state, job.progress, job.message) == ("succeeded", 1.0, "half")
    assert job.result == {"counted": 2}
    assert job.checkpoint == {"step": 1}
    assert job.lease is None
    assert job.finished_at is not None
    events = await queue.events(job_id)
    assert [(e.sequence, e.type) for e in events] == [
        (1, "queued"),
        (2, "started"),
        (3, "progress"),
        (4, "succeeded"),
    ]
    assert events[2].data == {"progress": 0.5, "message": "half"}


async def test_after_its_end_nothing_happens_to_a_job(queue: Queue) -> None:
    job_id = await queue.submit()
    _, lease = await leased(queue)
    async with queue.database.write() as session:
        assert await leases.end(session, lease, "failed", problem=PROBLEM)
    async with queue.database.write() as session:
        assert not await leases.end(session, lease, "succeeded")
        assert not await leases.retry_or_fail(session, lease, PROBLEM, first_delay=0)
        assert not await leases.give_back(session, lease)
        with pytest.raises(LeaseLost):
            await leases.report(session, lease, 1, "")
        with pytest.raises(LeaseLost):
            await leases.save(session, lease, {})
    assert (await queue.cancel(job_id)).state == "failed"
    assert await queue.types(job_id) == ["queued", "started", "failed"]


async def test_a_claimed_job_is_nobody_elses(queue: Queue) -> None:
    ids = {await queue.submit(), await queue.submit()}
    claims = await asyncio.gather(*(queue.claim(f"runner {n}") for n in range(6)))
    taken = [job.id for job in claims if job]
    assert sorted(taken) == sorted(ids)


async def test_the_limit_of_a_kind_holds_over_all_runners(queue: Queue) -> None:
    for _ in range(5):
        await queue.submit()
    claims = await asyncio.gather(*(queue.claim() for _ in range(5)))
    assert len([job for job in claims if job]) == 2
    first = next(job for job in claims if job)
    async with queue.database.write() as session:
        assert first.lease is not None
        await leases.end(session, first.lease, "succeeded")
    assert await queue.claim() is not None
    assert await queue.claim() is None


async def test_priority_goes_before_age(queue: Queue) -> None:
    older, newer = await queue.submit(), await queue.submit()
    urgent = await queue.submit(priority=5)
    order = []
    for _ in range(3):
        job, lease = await leased(queue)
        order.append(job.id)
        async with queue.database.write() as session:
            await leases.end(session, lease, "succeeded")
    assert order == [urgent, older, newer]


async def test_a_lost_runner_s_job_goes_to_another_one(queue: Queue) -> None:
    job_id = await queue.submit()
    _, lost = await leased(queue)
    async with queue.database.write() as session:
        await leases.save(session, lost, {"step": 1})
    assert await queue.claim("another") is None
    await expire(queue, job_id)
    job = await queue.claim("another")
    assert job is not None
    assert (job.id, job.attempts, job.runner, job.checkpoint) == (job_id, 2, "another", {"step": 1})
    assert job.lease != lost
    async with queue.database.write() as session:
        assert lost not in await leases.renew(session, [lost], 60)
        with pytest.raises(LeaseLost):
            await leases.save(session, lost, {"step": 9})
        assert not await leases.end(session, lost, "succeeded")
    assert await queue.types(job_id) == ["queued", "started", "interrupted", "started"]


async def test_a_renewed_lease_does_not_expire(queue: Queue) -> None:
    job_id = await queue.submit()
    _, lease = await leased(queue)
    await expire(queue, job_id)
    async with queue.database.write() as session:
        assert await leases.renew(session, [lease, "another"], 60) == {lease}
    assert await queue.claim("another") is None
    assert (await queue.get(job_id)).lease == lease


async def test_attempts_end(queue: Queue) -> None:
    job_id = await queue.submit(max_attempts=2)
    for _ in range(2):
        _, lease = await leased(queue)
        async with queue.database.write() as session:
            await leases.retry_or_fail(session, lease, PROBLEM, first_delay=0)
    job = await queue.get(job_id)
    assert (job.state, job.attempts, job.error) == ("failed", 2, PROBLEM.to_dict())
    assert await queue.types(job_id) == ["queued", "started", "interrupted", "started", "failed"]


async def test_the_last_attempt_may_be_lost_with_its_runner(queue: Queue) -> None:
    job_id = await queue.submit(max_attempts=1)
    await leased(queue)
    await expire(queue, job_id)
    assert await queue.claim("another") is None
    job = await queue.get(job_id)
    assert job.state == "failed"
    assert job.error == {"code": "runner_lost", "message": "The runner runner is gone."}


async def test_the_next_attempt_waits_longer_each_time(queue: Queue) -> None:
    job_id = await queue.submit(max_attempts=10)
    waits = []
    for _ in range(3):
        _, lease = await leased(queue)
        before = now()
        async with queue.database.write() as session:
            await leases.retry_or_fail(session, lease, PROBLEM, first_delay=100)
        waits.append(
            round((await queue.get(job_id)).run_after.timestamp() - before.timestamp(), -1)
        )
        assert await queue.claim() is None
        async with queue.database.write() as session:
            await session.execute(sa.update(Job).values(run_after=before))
    assert waits == [100, 200, 300]


async def test_giving_back_costs_no_attempt(queue: Queue) -> None:
    job_id = await queue.submit(max_attempts=1)
    for _ in range(3):
        _, lease = await leased(queue)
        async with queue.database.write() as session:
            assert await leases.give_back(session, lease)
    assert (await queue.get(job_id)).attempts == 0


async def test_cancel_while_queued(queue: Queue) -> None:
    job_id = await queue.submit()
    assert (await queue.cancel(job_id)).state == "cancelled"
    assert (await queue.cancel(job_id)).state == "cancelled"
    assert await queue.claim() is None
    assert await queue.types(job_id) == ["queued", "cancelled"]


@pytest.mark.parametrize("end", ["stopped", "crashed", "lost"])
async def test_cancel_while_running(queue: Queue, end: str) -> None:
    job_id = await queue.submit()
    _, lease = await leased(queue)
    for _ in range(2):
        job = await queue.cancel(job_id)
        assert (job.state, job.cancel_requested) == ("running", True)
    if end == "lost":
        await expire(queue, job_id)
        await queue.claim("another")
    else:
        async with queue.database.write() as session:
            if end == "stopped":
                await leases.give_back(session, lease)
            else:
                await leases.retry_or_fail(session, lease, PROBLEM, first_delay=0)
    assert await queue.types(job_id) == ["queued", "started", "cancelling", "cancelled"]
    assert (await queue.get(job_id)).error is None


async def test_cancel_races_with_everything_else(queue: Queue) -> None:
    """Whoever is faster, each job ends once, and as its last event says."""
    ids = [await queue.submit() for _ in range(8)]

    async def work() -> None:
        while True:
            job = await queue.claim()
            if job is None or job.lease is None:
                return
            async with queue.database.write() as session:
                await leases.give_back(session, job.lease)

    await asyncio.gather(work(), *(queue.cancel(job_id) for job_id in ids), work())
    for job_id in ids:
        assert (await queue.get(job_id)).state == "cancelled"
        types = await queue.types(job_id)
        assert types.count("cancelled") == 1
        assert types[-1] == "cancelled"
        sequences = [event.sequence for event in await queue.events(job_id)]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_what_is_refused(queue: Queue) -> None:
    async with queue.database.write() as session:
        with pytest.raises(InvalidRequest, match="'cook' is not a kind of job"):
            await service.submit(session, "cook", {}, owner_id=None)
        with pytest.raises(InvalidRequest, match="payload is no JSON"):
            await service.submit(session, "demo", {"what": object()}, owner_id=None)
        with pytest.raises(InvalidRequest, match=r"payload has 300,0.. bytes"):
            await service.submit(session, "demo", {"text": "x" * 300_000}, owner_id=None)
        with pytest.raises(service.JobNotFound, match="no job 'nothing'"):
            await service.cancel(session, "nothing", owner_id=None)


async def test_jobs_go_with_their_owner(queue: Queue) -> None:
    async with queue.database.write() as session:
        for name in ("ana", "ben"):
            session.add(
                User(id=name, username=name, username_key=name, password_hash="", role="user")
            )
    hers, his = await queue.submit(owner_id="ana"), await queue.submit(owner_id="ben")
    async with queue.database.write() as session:
        assert [job.id for job in await service.list_jobs(session, owner_id="ana")] == [hers]
        for act in (service.get_job_or_raise, service.cancel):
            with pytest.raises(service.JobNotFound):
                await act(session, his, owner_id="ana")
        await session.execute(sa.delete(User).where(User.id == "ben"))
    async with queue.database.read() as session:
        assert [job.id for job in await service.list_jobs(session, owner_id=None)] == [hers]
        assert await service.events_after(session, his, 0) == []


async def test_lists_go_on_where_they_ended(queue: Queue) -> None:
    ids = [await queue.submit() for _ in range(5)]
    seen: list[str] = []
    async with queue.database.read() as session:
        while page := await service.list_jobs(
            session, owner_id=None, limit=2, before=seen[-1] if seen else None
        ):
            seen += [job.id for job in page]
    assert seen == ids[::-1]
