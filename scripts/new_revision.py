"""Draft a migration: what the models have and the migrations do not.

Usage: `python scripts/new_revision.py "add a column for the language"`. Read what it wrote before
you commit it: it cannot know that a column was renamed, nor what old rows should hold.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from sqlalchemy.engine import Connection

from maloca.server.db import versions
from maloca.server.db.base import UtcDateTime
from maloca.server.db.database import database_url
from maloca.server.db.tables import Base

_TEMPLATE: Final = '''\
"""{message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = {before!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply it."""
    {upgrade}


def downgrade() -> None:
    """Take it back."""
    {downgrade}
'''


def main() -> int:
    """Write the file; return the exit code."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its one argument
        print(__doc__, file=sys.stderr)
        return 2
    message = sys.argv[1].strip()
    known = versions.revisions()
    number = f"{len(known) + 1:04}"
    name = re.sub("[^a-z0-9]+", "_", message.lower()).strip("_")[:40]
    path = versions.FOLDER / f"r{number}_{name}.py"
    before = known[-1] if known else None
    up, down = asyncio.run(_draft())
    text = _TEMPLATE.format(
        message=message[:1].upper() + message[1:].rstrip(".") + ".",
        number=number,
        before=before,
        upgrade=up,
        downgrade=down,
    )
    path.write_text(text, encoding="utf-8")
    print(path)
    return 0


async def _draft() -> tuple[str, str]:
    """Return the two functions' bodies, compared with a database at the newest revision."""
    with tempfile.TemporaryDirectory() as folder:
        url = database_url(f"sqlite:///{Path(folder) / 'draft.db'}")
        if versions.revisions():
            await versions.upgrade(url)
        async with versions.connect(url) as connection:
            return await connection.run_sync(_compare)


def _compare(connection: Connection) -> tuple[str, str]:
    options: dict[str, Any] = {"render_as_batch": True, "render_item": _render}
    context = MigrationContext.configure(connection, opts=options)
    found = produce_migrations(context, Base.metadata)
    if found.upgrade_ops is None or found.downgrade_ops is None:
        raise RuntimeError("nothing was compared")
    bodies = [
        render_python_code(
            operations, render_as_batch=True, render_item=_render, migration_context=context
        )
        for operations in (found.upgrade_ops, found.downgrade_ops)
    ]
    up, down = (re.sub(" *# ###.*\n?", "", body).strip() or "pass" for body in bodies)
    return up, down


def _render(kind: str, item: Any, _context: Any) -> Any:
    """Keep our own types out of migrations, which outlive them."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


if __name__ == "__main__":
    sys.exit(main())
