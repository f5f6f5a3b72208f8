"""The program of a job's subprocess: `python -m maloca.server.jobs.program`.

Its first line on stdin says which job; the rest of stdin is a lifeline: when it ends, the runner
is gone, and the job must not go on without one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any, Final

import msgspec

from maloca.core.errors import MalocaError
from maloca.server.db import tables  # noqa: F401 - a job may touch any table
from maloca.server.db.database import Database
from maloca.server.jobs import leases, repository
from maloca.server.jobs.context import JobContext
from maloca.server.jobs.kinds import get_kind_or_raise
from maloca.server.jobs.leases import LeaseLost, Problem
from maloca.server.jobs.models import Job
from maloca.server.jobs.small_json import small_json
from maloca.server.settings import ServerSettings

STOPPED: Final = 75
_MOST_LINE: Final = 4096


class Order(msgspec.Struct):
    """What the runner writes on the first line of stdin.

    Attributes:
        job_id: The job.
        lease: Proves that this process may change it.
        retry_seconds: Until the second attempt, if this one fails.
    """

    job_id: str
    lease: str
    retry_seconds: float


def main() -> int:
    """Work on one job; return the exit code."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte or len(line) > _MOST_LINE:
            return STOPPED
        line += byte
    order = msgspec.json.decode(line, type=Order)
    threading.Thread(target=_hold_lifeline, daemon=True).start()
    return asyncio.run(_run(order))


async def _run(order: Order) -> int:
    database = Database(ServerSettings.load().database)
    try:
        async with database.read() as session:
            job = await repository.get_job(session, order.job_id)
        if job is None or job.lease != order.lease:
            return STOPPED
        return await _attempt(job, order, database)
    except (LeaseLost, asyncio.CancelledError):
        return STOPPED
    finally:
        await database.aclose()


async def _attempt(job: Job, order: Order, database: Database) -> int:
    """Do the work and write down how it ended."""
    context = JobContext(job, order.lease, database)
    working = asyncio.ensure_future(_work(job, context))
    _stop_at_signal(working, context)
    try:
        result = await working
    except (LeaseLost, asyncio.CancelledError):
        raise
    except MalocaError as error:
        traceback.print_exc()
        problem = Problem(code=error.info.code, message=error.info.message)
        async with database.write() as session:
            await leases.end(session, order.lease, "failed", problem=problem)
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a job raises ends its attempt
        traceback.print_exc()
        # The exception's text may quote anything; the owner gets its kind, the log has the rest.
        problem = Problem(
            code="job_failed",
            message=f"The job failed unexpectedly ({type(error).__name__}); its log says more.",
        )
        async with database.write() as session:
            await leases.retry_or_fail(
                session, order.lease, problem, first_delay=order.retry_seconds
            )
        return 1
    async with database.write() as session:
        await leases.end(session, order.lease, "succeeded", result=result)
    return 0


async def _work(job: Job, context: JobContext) -> dict[str, Any] | None:
    result = await get_kind_or_raise(job.kind).load()(context)
    return None if result is None else small_json(result, "result")


def _stop_at_signal(working: asyncio.Future[Any], context: JobContext) -> None:
    """Cancel the work when the runner asks to stop; how it ended is still written down."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        context.cancelled = True
        working.cancel()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)

    signal.signal(signal.SIGTERM, on_signal)
    if sys.platform == "win32":
        signal.signal(signal.SIGBREAK, on_signal)


def _hold_lifeline() -> None:
    """Wait for the end of stdin, then end this process and whatever it has started."""
    try:
        while os.read(0, 4096):
            pass
    finally:
        if sys.platform != "win32" and os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
