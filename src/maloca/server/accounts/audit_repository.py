"""Queries for the log of security events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.models import AuditEvent


async def add_event(session: AsyncSession, event: AuditEvent) -> None:
    """Add an event."""
    session.add(event)
    await session.flush()


async def list_events(
    session: AsyncSession, *, limit: int, before: int | None = None, action: str | None = None
) -> Sequence[AuditEvent]:
    """Return events, the latest first; `before` is the id of the last one seen."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditEvent.id < before)
    if action is not None:
        query = query.where(AuditEvent.action == action)
    return (await session.scalars(query)).all()


async def delete_before(session: AsyncSession, moment: dt.datetime) -> None:
    """Remove the events before a moment."""
    await session.execute(delete(AuditEvent).where(AuditEvent.at < moment))
