"""`/limits`: what administrators allow roles, users and keys."""

from __future__ import annotations

from fastapi import APIRouter

from maloca.asgi.strict_json import StrictRoute
from maloca.dialects.fields import errors
from maloca.server.accounts.dependencies import AdminDep
from maloca.server.db.dependencies import ReadSession, WriteSession
from maloca.server.inference.dependencies import InferenceDep
from maloca.server.limits import service
from maloca.server.limits.schemas import Kind, LimitName, LimitRead, LimitUpdate

router = APIRouter(prefix="/limits", tags=["admin"], route_class=StrictRoute)


@router.get("", responses=errors(401, 403))
async def list_limits(_: AdminDep, session: ReadSession) -> list[LimitRead]:
    """List the exceptions to the default limits; a key's beats its user's, that beats a role's."""
    return await service.listed(session)


@router.put("/{kind}/{name}", responses=errors(401, 403, 422))
async def put_limit(
    _: AdminDep,
    kind: Kind,
    name: LimitName,
    body: LimitUpdate,
    session: WriteSession,
    inference: InferenceDep,
) -> LimitRead:
    """Set what a role, user or key may ask for; other replicas follow within seconds."""
    found = await service.put(session, kind, name, body)
    inference.allowances.forget()
    return found


@router.delete("/{kind}/{name}", status_code=204, responses=errors(401, 403, 404))
async def remove_limit(
    _: AdminDep, kind: Kind, name: LimitName, session: WriteSession, inference: InferenceDep
) -> None:
    """Return a role, user or key to the defaults."""
    await service.remove(session, kind, name)
    inference.allowances.forget()
