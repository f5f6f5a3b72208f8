"""What is stored of a person, for that person: every row that is theirs, without secrets.

Tables that belong to accounts say so by a foreign key to `users`, so a new domain's data is part of
the export as soon as its table exists.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.models import User
from maloca.server.db.base import Base

Export = dict[str, list[dict[str, Any]]]


async def of_user(session: AsyncSession, user_id: str) -> Export:
    """Return the rows of each table that belong to an account, as values for JSON."""
    found: Export = {}
    for table, belongs in _owned():
        shown = [column for column in table.columns if not column.info.get("secret")]
        rows = await session.execute(select(*shown).where(belongs == user_id))
        found[table.name] = [
            {name: _plain(value) for name, value in row.items()} for row in rows.mappings()
        ]
    return found


def _owned() -> Iterator[tuple[Table, Column[Any]]]:
    """Yield each table with data of accounts, and its column that says whose."""
    users = User.__table__
    for table in Base.metadata.sorted_tables:
        if table is users:
            yield table, table.columns["id"]
            continue
        for column in table.columns:
            if any(key.column.table is users for key in column.foreign_keys):
                yield table, column
                break


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value
