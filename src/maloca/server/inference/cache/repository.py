"""Queries of cached answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.inference.cache.models import CachedAnswer


async def get(session: AsyncSession, key: str, now: dt.datetime) -> CachedAnswer | None:
    """Return an answer that is still good."""
    query = select(CachedAnswer).where(CachedAnswer.key == key, CachedAnswer.expires_at > now)
    found: CachedAnswer | None = await session.scalar(query)
    return found


async def put(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Add or replace answers."""
    postgres = session.get_bind().dialect.name == "postgresql"
    statement: Any = (postgresql.insert if postgres else sqlite.insert)(CachedAnswer)
    changes = {name: statement.excluded[name] for name in ("body", "size", "used_at", "expires_at")}
    await session.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_=changes), list(rows)
    )


async def touch(session: AsyncSession, keys: Collection[str], now: dt.datetime) -> None:
    """Mark answers as used."""
    query = update(CachedAnswer).where(CachedAnswer.key.in_(keys)).values(used_at=now)
    await session.execute(query.execution_options(synchronize_session=False))


async def prune(session: AsyncSession, now: dt.datetime, *, max_bytes: int) -> None:
    """Remove what is too old, then the least recently used until the rest fits."""
    await session.execute(delete(CachedAnswer).where(CachedAnswer.expires_at <= now))
    newer = (
        select(
            CachedAnswer.key,
            func.sum(CachedAnswer.size)
            .over(order_by=[CachedAnswer.used_at.desc(), CachedAnswer.key])
            .label("bytes"),
        )
    ).subquery()
    over = select(newer.c.key).where(newer.c.bytes > max_bytes)
    query = delete(CachedAnswer).where(CachedAnswer.key.in_(over))
    await session.execute(query.execution_options(synchronize_session=False))
