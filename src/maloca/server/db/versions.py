"""Which revision a database is at, and the way to another one.

A revision is a file in `migrations/`. The whole way runs in one transaction that holds a lock, so
that a process that is killed leaves the database as it was, and of several that begin at once one
works while the others wait and then find nothing to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from maloca.core.errors import MalocaError, Unavailable
from maloca.server.db.database import new_engine
from maloca.server.db.tables import Base

FOLDER: Final = Path(__file__).parent / "migrations"
VERSION_TABLE: Final = "alembic_version"
_LOCK_SECONDS: Final = 600.0
# Any constant of our own: whoever migrates this PostgreSQL database holds it.
_LOCK_KEY: Final = 0x6D616C6F6361


class WrongVersion(MalocaError):
    """The database is not at the revision that this version of Maloca works with."""

    status = 503
    code = "database_version"


@dataclass(frozen=True, slots=True)
class State:
    """Where a database stands.

    Attributes:
        revision: None before the first migration.
        is_empty: Nothing is in it, not even tables.
        is_known: Whether this version of Maloca has that revision.
        pending: Revisions still to apply, oldest first.
    """

    revision: str | None
    is_empty: bool
    is_known: bool
    pending: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether the server can work with it."""
        return self.is_known and self.revision is not None and not self.pending


def head() -> str:
    """Return the revision that this version of Maloca works with."""
    found = _scripts().get_current_head()
    if found is None:
        raise RuntimeError(f"{FOLDER} holds no revision")
    return found


def revisions() -> list[str]:
    """Return every revision, oldest first."""
    return [script.revision for script in _scripts().walk_revisions()][::-1]


async def state(url: URL) -> State:
    """Return where the database stands; a missing SQLite file is empty and stays missing.

    Raises:
        Unavailable: The database cannot be reached or read.
    """
    if _is_missing(url):
        return State(revision=None, is_empty=True, is_known=True, pending=tuple(revisions()))
    async with connect(url) as connection:
        return await connection.run_sync(_state)


async def prepare(url: URL) -> None:
    """See that the server can work with the database.

    An empty one gets its tables, since nothing in it can be lost. Any other is left alone:
    migrating it is its owner's decision, after a backup.

    Raises:
        WrongVersion: It is older or newer than this version of Maloca.
        Unavailable: The database cannot be reached.
    """
    if (await check(url)).is_empty:
        await upgrade(url)


async def check(url: URL) -> State:
    """Refuse a database that the server cannot work with; change nothing.

    Returns:
        Where it stands: it is current or empty.

    Raises:
        WrongVersion: It is older or newer than this version of Maloca.
        Unavailable: The database cannot be reached.
    """
    found = await state(url)
    if not found.is_empty and not found.is_current:
        raise refusal(url, found)
    return found


def refusal(url: URL, found: State) -> WrongVersion:
    """Return why the server cannot work with a database in that state, and the way out."""
    where = shown(url)
    if not found.is_known:
        return WrongVersion(
            f"{where} is at revision {found.revision}, which this version of Maloca does not know: "
            "a newer one has migrated it.",
            hint="Update Maloca, or bring back the backup from before: `maloca db restore FILE`.",
        )
    if found.revision is None:
        return WrongVersion(
            f"{where} has tables, but not from Maloca's migrations.",
            hint="Give Maloca a database of its own in MALOCA_DATABASE_URL.",
        )
    return WrongVersion(
        f"{where} is at revision {found.revision}; this version of Maloca needs {head()}.",
        hint="Run `maloca db migrate`; it makes a backup first.",
    )


async def upgrade(url: URL, to: str = "head") -> list[str]:
    """Apply revisions up to `to`.

    Returns:
        Those that were applied, oldest first; none if another process was faster.

    Raises:
        WrongVersion: The database is not one that Maloca's migrations know.
        Unavailable: The database cannot be reached.
    """
    return await _move(url, to, lambda script, at: script._upgrade_revs(to, at))  # noqa: SLF001 - as alembic.command does


async def downgrade(url: URL, to: str) -> list[str]:
    """Take revisions back down to `to`, or all of them with "base".

    Returns:
        Those that were taken back, newest first.

    Raises:
        WrongVersion: The database is not one that Maloca's migrations know.
        Unavailable: The database cannot be reached.
    """
    return await _move(url, to, lambda script, at: script._downgrade_revs(to, at))  # noqa: SLF001 - as alembic.command does


def shown(url: URL) -> str:
    """Return how a database is called in messages: a file's path, or the URL without password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


async def _move(url: URL, to: str, steps: Callable[[ScriptDirectory, Any], Any]) -> list[str]:
    done: list[str] = []

    def work(connection: Connection) -> None:
        _lock(connection)
        found = _state(connection)
        if not found.is_known or (found.revision is None and not found.is_empty):
            raise refusal(url, found)

        def plan(at: Any, _context: Any) -> list[Any]:
            planned = list(steps(_scripts(), at))
            done.extend(step.revision.revision for step in planned)
            return planned

        with EnvironmentContext(_config(), _scripts(), fn=plan, destination_rev=to) as context:
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                # SQLite changes a table by making it anew.
                render_as_batch=connection.dialect.name == "sqlite",
                transactional_ddl=True,
            )
            context.run_migrations()
        _check_foreign_keys(connection)

    if _is_missing(url):
        _make_file(Path(str(url.database)))
    async with connect(url, write=True) as connection:
        await connection.run_sync(work)
        await connection.commit()
    return done


@asynccontextmanager
async def connect(url: URL, *, write: bool = False) -> AsyncGenerator[AsyncConnection, None]:
    """Yield a connection of its own; foreign keys are off, since SQLite remakes tables.

    Raises:
        Unavailable: The database cannot be reached or read.
    """
    engine: AsyncEngine = new_engine(url, foreign_keys=False, busy_seconds=_LOCK_SECONDS)
    try:
        try:
            _try_to_open(url)
            connection = await engine.connect()
        except (sa.exc.DBAPIError, sqlite3.Error, OSError) as error:
            reason = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise Unavailable(
                f"The database {shown(url)} cannot be opened: {reason}.",
                code="database_unavailable",
                hint="See that it runs and that MALOCA_DATABASE_URL is right.",
            ) from error
        try:
            await connection.execution_options(maloca_write=write)
            yield connection
        finally:
            await connection.close()
    finally:
        await engine.dispose()


def _state(connection: Connection) -> State:
    names = set(sa.inspect(connection).get_table_names())
    revision = MigrationContext.configure(connection).get_current_revision()
    known = revisions()
    if revision is None:
        has_tables = bool(names - {VERSION_TABLE, "spatial_ref_sys"})
        return State(None, is_empty=not has_tables, is_known=True, pending=tuple(known))
    if revision not in known:
        return State(revision, is_empty=False, is_known=False, pending=())
    pending = tuple(known[known.index(revision) + 1 :])
    return State(revision, is_empty=False, is_known=True, pending=pending)


def _lock(connection: Connection) -> None:
    """Wait until no other process migrates; on SQLite, beginning the transaction has done so."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_KEY)))


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise RuntimeError(f"the migration leaves {len(broken)} rows that refer to nothing")


def _is_missing(url: URL) -> bool:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return False
    path = Path(url.database)
    return not path.exists() or path.stat().st_size == 0


def _try_to_open(url: URL) -> None:
    """Fail as SQLite fails; aiosqlite's thread may outlive the loop when it cannot open a file."""
    if url.get_backend_name() == "sqlite" and url.database:
        sqlite3.connect(url.database).close()


def _make_file(path: Path) -> None:
    """Make the SQLite file for its owner only; what SQLite puts beside it is as private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
