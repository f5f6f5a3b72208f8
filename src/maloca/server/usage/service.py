"""What was used, added up."""

from __future__ import annotations

import datetime as dt

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.db.base import now
from maloca.server.usage import repository
from maloca.server.usage.schemas import UsageRead, UserUsageRead


async def of_user(session: AsyncSession, user_id: str, *, days: int) -> list[UsageRead]:
    """Return one user's totals of the last days, today included."""
    rows = await repository.totals(session, since=_since(days), user_id=user_id)
    return [UsageRead.model_validate(row) for row in rows]


async def of_everyone(session: AsyncSession, *, days: int) -> list[UserUsageRead]:
    """Return everybody's totals of the last days, user by user."""
    rows = await repository.totals(session, since=_since(days), user_id=None, by_user=True)
    return [UserUsageRead.model_validate(row) for row in rows]


def _since(days: int) -> dt.date:
    return now().date() - dt.timedelta(days=days - 1)
