"""All queries of providers."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.providers.models import ProviderConfig

_ONLY = 1


async def get_config(session: AsyncSession) -> ProviderConfig | None:
    """Return what administrators chose, or None while nobody chose anything."""
    return await session.get(ProviderConfig, _ONLY, populate_existing=True)


async def get_version(session: AsyncSession) -> int:
    """Return the version of what administrators chose, 0 while nobody chose anything."""
    found = await session.scalar(select(ProviderConfig.version).where(ProviderConfig.id == _ONLY))
    return found or 0


async def lock_config(session: AsyncSession) -> ProviderConfig:
    """Return the one row, made if need be, so that nobody else changes it before the commit."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {"id": _ONLY, "version": 0, "models": {}, "updated_by": ""}
    await session.execute(
        dialect.insert(ProviderConfig).values(values).on_conflict_do_nothing(index_elements=["id"])
    )
    found = await session.scalars(
        select(ProviderConfig).where(ProviderConfig.id == _ONLY).with_for_update()
    )
    return found.one()
