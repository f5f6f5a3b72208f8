"""Job processes as they run: work, fail, are cancelled, stopped, killed and replaced."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal

import pytest
import sqlalchemy as sa
from tests.server.jobs.conftest import Queue, Runners, children

from maloca.server.db.base import now
from maloca.server.jobs import service
from maloca.server.jobs.models import Job

pytestmark = pytest.mark.process

DAY = dt.timedelta(days=1)


async def test_a_job_is_done(queue: Queue, runners: Runners) -> None:
    job_id = await queue.submit({"steps": 3})
    runners.start()
    job = await queue.until(job_id, lambda job: job.is_over)
    assert (job.state, job.progress, job.attempts) == ("succeeded", 1.0, 1)
    assert job.result == {"counted": 3, "resumed_at": 0}
    assert await queue.types(job_id) == ["queued", "started", "succeeded"]
    log = runners.logs / f"{job_id}.log"
    assert log.read_text(encoding="utf-8") == "step 1 of 3\nstep 2 of 3\nstep 3 of 3\n"
    assert log.stat().st_mode & 0o777 == 0o600


async def test_failures(queue: Queue, runners: Runners) -> None:
    refused = await queue.submit({"refuse": "There is nothing to count."}, priority=2)
    fails = await queue.submit({"fail_attempts": 1, "steps": 4}, priority=1)
    crashes = await queue.submit({"crash_attempts": 9, "steps": 4}, max_attempts=2)
    runners.start()
    job = await queue.until(refused, lambda job: job.is_over)
    assert (job.state, job.attempts) == ("failed", 1)
    assert job.error == {"code": "invalid_request", "message": "There is nothing to count."}

    job = await queue.until(fails, lambda job: job.is_over)
    assert (job.state, job.attempts, job.error) == ("succeeded", 2, None)
    assert job.result == {"counted": 4, "resumed_at": 2}
    interrupted = (await queue.events(fails))[3]
    assert interrupted.type == "interrupted"
    assert interrupted.data["error"] == {
        "code": "job_failed",
        "message": "The job failed unexpectedly (RuntimeError); its log says more.",
    }
    assert "told to fail in attempt 1" in (runners.logs / f"{fails}.log").read_text("utf-8")

    job = await queue.until(crashes, lambda job: job.is_over)
    assert (job.state, job.attempts) == ("failed", 2)
    assert job.error == {
        "code": "job_crashed",
        "message": "The job's process ended with exit code 9.",
    }


async def test_two_runners_share_the_jobs(queue: Queue, runners: Runners) -> None:
    """Each job is begun once, whichever of the two is faster."""
    ids = [await queue.submit({"steps": 1}) for _ in range(6)]
    for _ in range(2):
        runners.start()
    for job_id in ids:
        await queue.until(job_id, lambda job: job.is_over)
        assert await queue.types(job_id) == ["queued", "started", "succeeded"]


async def test_cancel_stops_a_running_job(queue: Queue, runners: Runners) -> None:
    job_id = await queue.submit({"steps": 1, "seconds": 600})
    runner = runners.start()
    await queue.until(job_id, lambda job: job.state == "running", "start")
    await queue.cancel(job_id)
    job = await queue.until(job_id, lambda job: job.is_over)
    assert (job.state, job.error) == ("cancelled", None)
    assert await queue.types(job_id) == ["queued", "started", "cancelling", "cancelled"]
    assert runner.poll() is None
    assert children(runner) == []


async def test_a_stopped_runner_gives_its_job_back(queue: Queue, runners: Runners) -> None:
    job_id = await queue.submit({"steps": 2, "seconds": 0.5}, max_attempts=1)
    first = runners.start()
    await queue.until(job_id, lambda job: job.checkpoint, "checkpoint")
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    job = await queue.get(job_id)
    if job.state == "queued":
        assert job.attempts == 0
    runners.start()
    job = await queue.until(job_id, lambda job: job.is_over)
    assert job.state == "succeeded"


async def test_a_killed_job_goes_on_from_its_checkpoint(queue: Queue, runners: Runners) -> None:
    job_id = await queue.submit({"steps": 3, "seconds": 0.3})
    runner = runners.start()
    await queue.until(job_id, lambda job: job.checkpoint, "checkpoint")
    for child in children(runner):
        child.kill()
    job = await queue.until(job_id, lambda job: job.is_over)
    assert (job.state, job.attempts) == ("succeeded", 2)
    assert job.result
    assert job.result["resumed_at"] >= 1
    interrupted = [e for e in await queue.events(job_id) if e.type == "interrupted"]
    assert [e.data["error"]["message"] for e in interrupted] == [
        "The job's process was killed by signal 9."
    ]


async def test_a_killed_runner_is_replaced(queue: Queue, runners: Runners) -> None:
    job_id = await queue.submit({"steps": 3, "seconds": 0.3})
    runner = runners.start()
    await queue.until(job_id, lambda job: job.checkpoint, "checkpoint")
    orphans = children(runner)
    runner.kill()
    runner.wait()
    for orphan in orphans:
        orphan.wait(10)  # Its lifeline is gone.
    runners.start()
    job = await queue.until(job_id, lambda job: job.is_over)
    assert (job.state, job.attempts) == ("succeeded", 2)
    assert await queue.types(job_id) == [
        "queued",
        "started",
        "interrupted",
        "started",
        "succeeded",
    ]


async def test_old_jobs_are_forgotten(queue: Queue, runners: Runners) -> None:
    old, waiting = await queue.submit(), await queue.submit()
    await queue.cancel(old)
    async with queue.database.write() as session:
        past = now() - dt.timedelta(days=2)
        await session.execute(sa.update(Job).values(finished_at=past, run_after=now() + DAY))
    runners.logs.mkdir(parents=True)
    logs = [runners.logs / f"{job_id}.log" for job_id in (old, waiting)]
    for log in logs:
        log.touch()
    runners.start(MALOCA_JOB_DAYS="1")
    while logs[0].exists():  # noqa: ASYNC110 - another process removes it
        await asyncio.sleep(0.05)
    async with queue.database.read() as session:
        assert [job.id for job in await service.list_jobs(session, owner_id=None)] == [waiting]
    assert await queue.events(old) == []
    assert logs[1].exists()


async def kill_at_random(queue: Queue, runners: Runners, rounds: int) -> None:
    """Kill runners and job processes at any moment; every job must still end exactly once."""
    chance = random.Random(rounds)  # noqa: S311 - only moments are drawn
    ids = [
        await queue.submit({"steps": 5, "seconds": 0.2}, max_attempts=1000)
        for _ in range(2 + rounds // 5)
    ]
    crew = [runners.start(), runners.start()]
    for number in range(rounds):
        await asyncio.sleep(chance.uniform(0, 1))
        victim = crew[number % 2]
        jobs = children(victim)
        if jobs and chance.random() < 0.5:
            chance.choice(jobs).kill()
        else:
            victim.kill()
            victim.wait()
            crew[number % 2] = runners.start()
    for job_id in ids:
        job = await queue.until(job_id, lambda job: job.is_over, seconds=120)
        assert job.state == "succeeded"
        assert job.checkpoint == {"step": 5}
        events = await queue.events(job_id)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        types = await queue.types(job_id)
        # However often it was begun, each beginning has one end.
        assert types[0] == "queued"
        assert types[1::2] == ["started"] * (len(types) // 2)
        assert types[2:-1:2] == ["interrupted"] * (len(types) // 2 - 1)
        assert types[-1] == "succeeded"


async def test_nothing_is_lost_or_done_twice_when_processes_are_killed(
    queue: Queue, runners: Runners
) -> None:
    await kill_at_random(queue, runners, 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_done_twice_when_a_hundred_processes_are_killed(
    queue: Queue, runners: Runners
) -> None:
    await kill_at_random(queue, runners, 100)
