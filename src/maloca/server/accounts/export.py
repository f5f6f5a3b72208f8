"""What is stored of a person, for that person: every row that is theirs, without secrets.

Tables that belong to accounts say so themselves, see `ownership`, so a new domain's data is part of
the export as soon as its table exists.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.ownership import rows_of

Export = dict[str, list[dict[str, Any]]]


async def of_user(session: AsyncSession, user_id: str) -> Export:
    """Return the rows of each table that belong to an account, as values for JSON."""
    found: Export = {}
    for table, theirs in rows_of(user_id):
        shown = [column for column in table.columns if not column.info.get("secret")]
        rows = await session.execute(select(*shown).where(theirs))
        found[table.name] = [
            {name: _plain(value) for name, value in row.items()} for row in rows.mappings()
        ]
    return found


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.date) else value
