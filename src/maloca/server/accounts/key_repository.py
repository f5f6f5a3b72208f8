"""Queries for API keys."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.models import ApiKey, User


async def add_key(session: AsyncSession, key: ApiKey) -> ApiKey:
    """Add a key."""
    session.add(key)
    await session.flush()
    return key


async def count_keys(session: AsyncSession, user_id: str) -> int:
    """Return how many keys an account has, and let nobody add one until the transaction ends."""
    await session.execute(select(User.id).where(User.id == user_id).with_for_update())
    query = select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user_id)
    return await session.scalar(query) or 0


async def list_keys(session: AsyncSession, user_id: str) -> Sequence[ApiKey]:
    """Return the keys of an account, the oldest first."""
    query = select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.created_at, ApiKey.id)
    return (await session.scalars(query)).all()


async def delete_key(session: AsyncSession, key_id: str, user_id: str) -> str | None:
    """Revoke a key of an account; return its prefix, or None if there was none."""
    mine = delete(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id)
    return await session.scalar(mine.returning(ApiKey.prefix))
