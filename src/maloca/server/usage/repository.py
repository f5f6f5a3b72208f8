"""Queries of usage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, Row, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.usage.models import UsageEvent


async def add_events(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows; those that are there already stay as they are."""
    postgres = session.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if postgres else sqlite.insert
    await session.execute(insert(UsageEvent).on_conflict_do_nothing(), list(rows))


async def totals(
    session: AsyncSession, *, since: dt.date, user_id: str | None, by_user: bool = False
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return sums by day, model and provider, newest day first.

    Args:
        session: Where to read.
        since: The first day, in UTC.
        user_id: One user's alone; None means everybody's.
        by_user: Tell users apart.
    """
    groups: list[Any] = [UsageEvent.day, UsageEvent.model, UsageEvent.provider]
    if by_user:
        groups.append(UsageEvent.user_id)
    query = (
        select(
            *groups,
            func.count().label("requests"),
            func.sum(cast(UsageEvent.cached, Integer)).label("cached"),
            func.count().filter(UsageEvent.status == "failed").label("failed"),
            func.count().filter(UsageEvent.status == "cancelled").label("cancelled"),
            func.count().filter(UsageEvent.status == "rate_limited").label("rate_limited"),
            func.sum(UsageEvent.prompt_tokens).label("prompt_tokens"),
            func.sum(UsageEvent.completion_tokens).label("completion_tokens"),
            func.avg(UsageEvent.ttft_ms).label("mean_ttft_ms"),
            func.avg(UsageEvent.duration_ms).label("mean_duration_ms"),
        )
        .where(UsageEvent.day >= since)
        .group_by(*groups)
        .order_by(UsageEvent.day.desc(), *groups[1:])
    )
    if user_id is not None:
        query = query.where(UsageEvent.user_id == user_id)
    return (await session.execute(query)).all()
