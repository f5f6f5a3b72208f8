"""The job process: `python -m maloca.server.jobs.process`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import structlog

from maloca.asgi import logs, records
from maloca.core.errors import MalocaError
from maloca.core.home import home
from maloca.core.settings import BadSetting
from maloca.server.db import versions
from maloca.server.db.database import Database
from maloca.server.jobs.runner import Runner, Times
from maloca.server.settings import ServerSettings

RECORD: Final = "jobs"
_BAD_SETTING: Final = 2

log = structlog.get_logger()


def main() -> int:
    """Run jobs until SIGTERM, Ctrl-C or the end of the lifeline; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m maloca.server.jobs.process")
    parser.add_argument("--lifeline", action="store_true", help="stop when stdin ends")
    lifeline: bool = parser.parse_args().lifeline
    try:
        settings = ServerSettings.load()
    except BadSetting as error:
        sys.stderr.write(f"{error}\n")
        return _BAD_SETTING
    logs.configure(settings.log_level)
    try:
        asyncio.run(run(settings, lifeline=lifeline))
    except MalocaError as error:
        hint = f" {error.info.hint}" if error.info.hint else ""
        sys.stderr.write(f"{error.info.message}{hint}\n")
        return 1
    return 0


async def run(settings: ServerSettings, *, lifeline: bool = False) -> None:
    """Run jobs until told to stop; the record `jobs` tells that this process is ready.

    Raises:
        WrongVersion: The database needs a migration, or a newer Maloca.
        Unavailable: The database cannot be reached.
    """
    await versions.prepare(settings.database)
    database = Database(settings.database)
    try:
        runner = Runner(
            database,
            name=f"{platform.node()}:{os.getpid()}",
            slots=settings.job_slots,
            logs=home() / "logs" / "jobs",
            times=Times(
                lease=settings.job_lease, retry=settings.job_retry, keep_days=settings.job_days
            ),
        )
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # After the loop's end there is nothing left to stop.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(runner.stop)

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            stop()

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)
        if sys.platform == "win32":
            signal.signal(signal.SIGBREAK, on_signal)
        if lifeline:
            threading.Thread(target=_hold, args=(stop,), daemon=True).start()
        record = records.write(RECORD, "")
        log.info("ready", service=RECORD, slots=settings.job_slots)
        try:
            await runner.run()
        finally:
            records.remove(record)
    finally:
        await database.aclose()
    log.info("stopped", service=RECORD)


def _hold(stop: Callable[[], None]) -> None:
    """Wait for the end of stdin, which means that the supervisor is gone, even by `kill -9`."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    # Whoever read our output is gone as well; a log line must not break the stop.
    void = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(void, descriptor)
    stop()


if __name__ == "__main__":
    sys.exit(main())
