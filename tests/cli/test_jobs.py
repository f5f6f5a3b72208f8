"""`maloca jobs`, and the job process that `maloca up` starts, in whole outputs."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from maloca.cli.main import app
from maloca.server.db import versions
from maloca.server.db.database import Database
from maloca.server.jobs import leases, service
from maloca.server.settings import ServerSettings


def run(*words: str, code: int = 0) -> tuple[str, str]:
    """Run a command; return what it wrote to stdout and stderr."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def submit(*, running: bool = False) -> str:
    """Queue a job, and take it if it should be running."""

    async def work() -> str:
        url = ServerSettings.load().database
        await versions.prepare(url)
        database = Database(url)
        async with database.write() as session:
            job = await service.submit(session, "demo", {}, owner_id=None)
        if running:
            async with database.write() as session:
                taken = await leases.claim(session, runner="here:1", seconds=60)
                assert taken is not None
                assert taken.lease is not None
                await leases.report(session, taken.lease, 0.25, "a \x1b[31mred\x1b[0m quarter")
        await database.aclose()
        return job.id

    return asyncio.run(work())


def test_no_jobs(home: Path) -> None:
    del home
    assert run("jobs", "list") == ("", "There are no jobs.\n")
    assert run("jobs", "list", "--json") == ("[]\n", "")
    for command in ("show", "cancel"):
        assert run("jobs", command, "abc", code=1) == ("", "Error: There is no job 'abc'.\n")


def test_list_show_cancel(home: Path) -> None:
    running = submit(running=True)
    queued = submit()
    out, _ = run("jobs", "list")
    lines = out.splitlines()
    assert lines[0].split() == ["ID", "KIND", "STATE", "DONE", "CREATED", "MESSAGE"]
    assert re.fullmatch(rf"{queued}  demo  queued     0%  \d{{4}}-\S+ \S+Z", lines[1])
    assert lines[2].startswith(f"{running}  demo  running   25%")
    assert "\x1b" not in out
    listed: list[dict[str, Any]] = json.loads(run("jobs", "list", "--json")[0])
    assert [job["id"] for job in listed] == [queued, running]

    out, _ = run("jobs", "show", running)
    assert f"id               {running}\nkind             demo\nstate            running\n" in out
    assert f"log              {home / 'logs' / 'jobs' / running}.log\n" in out
    assert [line.split()[2] for line in out.splitlines()[-3:]] == ["queued", "started", "progress"]
    assert "\x1b" not in out
    shown = json.loads(run("jobs", "show", running, "--json")[0])
    assert [event["type"] for event in shown["events"]] == ["queued", "started", "progress"]

    assert run("jobs", "cancel", queued) == ("", f"Job {queued} is cancelled.\n")
    assert run("jobs", "cancel", running) == ("", f"Job {running} has been asked to stop.\n")
    again = json.loads(run("jobs", "cancel", queued, "--json")[0])
    assert (again["id"], again["state"]) == (queued, "cancelled")
