"""`/usage`: what was used, by day and model."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from maloca.dialects.fields import errors
from maloca.server.accounts.dependencies import AdminDep, UserDep
from maloca.server.db.dependencies import ReadSession
from maloca.server.usage import service
from maloca.server.usage.schemas import UsageRead, UserUsageRead

Days = Annotated[int, Query(ge=1, le=366, description="Days back, today included.")]

router = APIRouter(prefix="/usage", tags=["usage"])


@router.get("", responses=errors(401, 403, 422))
async def own_usage(user: UserDep, session: ReadSession, days: Days = 30) -> list[UsageRead]:
    """Add up what you have used."""
    return await service.of_user(session, user.user_id or "", days=days)


@router.get("/everyone", responses=errors(401, 403, 422))
async def everyones_usage(
    _: AdminDep, session: ReadSession, days: Days = 30
) -> list[UserUsageRead]:
    """Add up what everybody has used."""
    return await service.of_everyone(session, days=days)
