"""`maloca jobs`: long work, seen and stopped from the terminal."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.cli import console
from maloca.core.home import home
from maloca.server.db import versions
from maloca.server.db.database import Database
from maloca.server.jobs import service
from maloca.server.jobs.models import Job
from maloca.server.jobs.schemas import JobRead
from maloca.server.settings import ServerSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show and cancel jobs.")

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(help="A job's id, as `maloca jobs list` shows it.")]


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List everybody's jobs, newest first."""
    jobs = _in_session(lambda session: service.list_jobs(session, owner_id=None, limit=limit))
    if as_json:
        console.write_json([_plain(job) for job in jobs])
        return
    if not jobs:
        console.say("There are no jobs.")
        return
    rows = [
        [job.id, job.kind, job.state, f"{job.progress:.0%}", _at(job.created_at), job.message]
        for job in jobs
    ]
    console.table(
        ["ID", "KIND", "STATE", "DONE", "CREATED", "MESSAGE"],
        [[console.visible(cell) for cell in row] for row in rows],
        right={"DONE"},
    )


@app.command()
def show(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Show a job, what happened to it, and where its output is."""

    async def find(session: AsyncSession) -> tuple[Job, list[dict[str, Any]]]:
        job = await service.get_job_or_raise(session, job_id, owner_id=None)
        events = await service.events_after(session, job.id, 0, limit=10_000)
        return job, [
            {"id": e.sequence, "type": e.type, "at": e.created_at.isoformat(), **e.data}
            for e in events
        ]

    job, events = _in_session(find)
    log = home() / "logs" / "jobs" / f"{job.id}.log"
    details = _plain(job) | {"log": str(log)}
    if as_json:
        console.write_json(details | {"events": events})
        return
    for key, value in details.items():
        if value is not None and value != "":
            console.write(f"{key.replace('_', ' '):<16} {console.visible(_shown(value))}")
    console.write("")
    rows = [[str(e["id"]), e["at"][:19], e["type"], _said(e)] for e in events]
    console.table(["EVENT", "AT", "TYPE", ""], rows, right={"EVENT"})


@app.command()
def cancel(job_id: JobId, *, as_json: AsJson = False) -> None:
    """Cancel a job: a queued one at once, a running one when it has stopped."""
    job = _in_session(lambda session: service.cancel(session, job_id, owner_id=None), write=True)
    if as_json:
        console.write_json(_plain(job))
    elif job.state == "running":
        console.say(f"Job {job.id} has been asked to stop.")
    else:
        console.say(f"Job {job.id} is {job.state}.")


def _in_session(work: Callable[[AsyncSession], Awaitable[T]], *, write: bool = False) -> T:
    """Do something with the database, which must be one that this version knows."""

    async def run() -> T:
        settings = ServerSettings.load()
        await versions.prepare(settings.database)
        database = Database(settings.database)
        try:
            async with database.write() if write else database.read() as session:
                return await work(session)
        finally:
            await database.aclose()

    return asyncio.run(run())


def _plain(job: Job) -> dict[str, Any]:
    return JobRead.of(job).model_dump(mode="json")


def _shown(value: Any) -> str:
    """Return a detail for a reader."""
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _at(time: dt.datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def _said(event: dict[str, Any]) -> str:
    """Return what an event says, for a reader."""
    if error := event.get("error"):
        return console.visible(str(error["message"]))
    if event["type"] == "progress":
        return console.visible(f"{event['progress']:.0%} {event['message']}")
    return console.visible(str(event.get("runner", "")))
