"""Jobs over HTTP: an owner's own, an administrator's all."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response

from maloca.asgi.strict_json import StrictRoute
from maloca.dialects.fields import errors
from maloca.server.accounts.dependencies import AdminDep, UserDep
from maloca.server.accounts.principal import Principal
from maloca.server.db.dependencies import DatabaseDep, ReadSession, WriteSession
from maloca.server.jobs import service
from maloca.server.jobs.event_stream import JobEventStream
from maloca.server.jobs.models import State
from maloca.server.jobs.schemas import JobCreate, JobList, JobRead

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)

_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {}}, "description": "The job's events."},
    204: {"description": "The job is over and the caller has seen its last event."},
}


def _sees(principal: Principal) -> str | None:
    """Return whose jobs the caller sees; None is everybody's."""
    return None if principal.is_admin else principal.user_id


@router.get("", responses=errors(401, 403, 422))
async def list_jobs(
    user: UserDep,
    session: ReadSession,
    *,
    state: State | None = None,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[
        str | None, Query(max_length=32, description="The id of the last job of the page before.")
    ] = None,
) -> JobList:
    """List jobs, newest first."""
    jobs = await service.list_jobs(
        session, owner_id=_sees(user), state=state, kind=kind, limit=limit, before=before
    )
    return JobList(jobs=[JobRead.of(job) for job in jobs])


@router.post("", status_code=201, responses=errors(401, 403, 413, 422))
async def create(admin: AdminDep, body: JobCreate, session: WriteSession) -> JobRead:
    """Queue a demo job."""
    job = await service.submit(
        session,
        body.kind,
        body.payload.model_dump(),
        owner_id=admin.user_id,
        priority=body.priority,
    )
    return JobRead.of(job)


@router.get("/{job_id}", responses=errors(401, 403, 404))
async def show(user: UserDep, job_id: str, session: ReadSession) -> JobRead:
    """Show a job as it is now."""
    return JobRead.of(await service.get_job_or_raise(session, job_id, owner_id=_sees(user)))


@router.post("/{job_id}/cancel", responses=errors(401, 403, 404))
async def cancel(user: UserDep, job_id: str, session: WriteSession) -> JobRead:
    """End a queued job, or ask a running one to stop; one that is over stays as it is."""
    return JobRead.of(await service.cancel(session, job_id, owner_id=_sees(user)))


@router.get(
    "/{job_id}/events",
    status_code=200,
    response_class=Response,
    responses=errors(401, 403, 404, 422) | _EVENTS,
)
async def events(
    user: UserDep,
    job_id: str,
    request: Request,
    session: ReadSession,
    database: DatabaseDep,
    last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """Follow a job: its events after `Last-Event-ID`, until the one that ends it."""
    job = await service.get_job_or_raise(session, job_id, owner_id=_sees(user))
    if job.is_over and last_event_id >= job.last_event:
        return Response(status_code=204)
    return JobEventStream(
        database, job.id, last_event_id, draining=lambda: bool(request.app.state.draining)
    )
