"""Exceptions to the default limits."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import NotFound
from maloca.server.limits import repository
from maloca.server.limits.schemas import Kind, LimitRead, LimitUpdate


async def listed(session: AsyncSession) -> list[LimitRead]:
    """Return every exception."""
    rows = await repository.overrides(session)
    return [LimitRead.model_validate(row, from_attributes=True) for row in rows]


async def put(session: AsyncSession, kind: Kind, name: str, wanted: LimitUpdate) -> LimitRead:
    """Add or replace the exception of a role, user or key."""
    read = LimitRead(kind=kind, name=name, **wanted.model_dump())
    await repository.put_override(session, read.model_dump())
    return read


async def remove(session: AsyncSession, kind: Kind, name: str) -> None:
    """Return a role, user or key to the defaults.

    Raises:
        NotFound: It had no exception.
    """
    if not await repository.remove_override(session, kind, name):
        raise NotFound(f"The {kind} {name!r} has no limits of its own.")
