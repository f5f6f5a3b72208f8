"""Queries of limits and of tokens spent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import CursorResult, Dialect, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.limits.models import LimitOverride, TokenSpend


async def overrides(session: AsyncSession) -> Sequence[LimitOverride]:
    """Return every exception to the defaults, in order."""
    query = select(LimitOverride).order_by(LimitOverride.kind, LimitOverride.name)
    return (await session.scalars(query)).all()


async def put_override(session: AsyncSession, values: dict[str, Any]) -> None:
    """Add or replace one exception."""
    statement = _insert(session)(LimitOverride).values(values)
    changes = {name: statement.excluded[name] for name in values if name not in {"kind", "name"}}
    await session.execute(
        statement.on_conflict_do_update(index_elements=["kind", "name"], set_=changes)
    )


async def remove_override(session: AsyncSession, kind: str, name: str) -> bool:
    """Remove one exception; return whether it was there."""
    query = delete(LimitOverride).where(LimitOverride.kind == kind, LimitOverride.name == name)
    return await _changed(session, query)


async def reserve(
    session: AsyncSession, tenant: str, day: dt.date, tokens: int, *, cap: int
) -> bool:
    """Add tokens to a day if they fit under the cap; one UPDATE decides all races."""
    row = _insert(session)(TokenSpend).values(tenant=tenant, day=day, tokens=0)
    await session.execute(row.on_conflict_do_nothing())
    query = (
        update(TokenSpend)
        .where(TokenSpend.tenant == tenant, TokenSpend.day == day)
        .where(TokenSpend.tokens + tokens <= cap)
        .values(tokens=TokenSpend.tokens + tokens)
    )
    return await _changed(session, query)


async def add_spent(session: AsyncSession, tenant: str, day: dt.date, tokens: int) -> None:
    """Correct a day by what a request used more or less than it had reserved."""
    query = (
        update(TokenSpend)
        .where(TokenSpend.tenant == tenant, TokenSpend.day == day)
        .values(tokens=TokenSpend.tokens + tokens)
    )
    await session.execute(query.execution_options(synchronize_session=False))


async def spent(session: AsyncSession, tenant: str, day: dt.date) -> int:
    """Return the tokens of a day, reserved ones included."""
    query = select(TokenSpend.tokens).where(TokenSpend.tenant == tenant, TokenSpend.day == day)
    return await session.scalar(query) or 0


async def forget_days_before(session: AsyncSession, day: dt.date) -> None:
    """Remove what no budget looks at any more."""
    await session.execute(delete(TokenSpend).where(TokenSpend.day < day))


async def _changed(session: AsyncSession, query: Any) -> bool:
    found = await session.execute(query.execution_options(synchronize_session=False))
    return isinstance(found, CursorResult) and found.rowcount > 0


def _insert(session: AsyncSession) -> Any:
    """Return the INSERT that knows ON CONFLICT; both databases spell it alike."""
    dialect: Dialect = session.get_bind().dialect
    return postgresql.insert if dialect.name == "postgresql" else sqlite.insert
