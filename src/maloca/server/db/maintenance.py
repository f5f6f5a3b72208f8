"""What an owner does with the database as a whole: back it up, bring it back, migrate it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import URL

from maloca.asgi import records
from maloca.core.errors import InvalidRequest
from maloca.core.home import home
from maloca.server.db import postgres_tools, sqlite_files, versions
from maloca.server.db.base import now
from maloca.server.db.database import SQLITE_DRIVER
from maloca.server.db.sqlite_files import BadBackup, InUse

# Services of this machine that work with the database.
_USERS: Final = ("up", "server", "jobs")


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did.

    Attributes:
        steps: The revisions that were applied or taken back, in that order.
        backup: The database from before; None if there was nothing to lose, or none was wanted.
    """

    steps: tuple[str, ...]
    backup: Path | None


def backups_folder() -> Path:
    """Return the folder of backups; it may not exist yet."""
    return home() / "backups"


async def backup(url: URL, folder: Path | None = None) -> Path:
    """Write a backup, named after the time and the revision; writers need not wait.

    Args:
        url: The database.
        folder: Where to; `backups` under the home if None.

    Returns:
        The new file.

    Raises:
        InvalidRequest: There is no database yet.
        WrongVersion: It is somebody else's.
        Unavailable: The database cannot be read, or a program for it is missing.
        OSError: The folder cannot be written.
    """
    state = await versions.state(url)
    if state.is_empty:
        raise InvalidRequest(f"There is no database at {versions.shown(url)} yet.")
    if state.revision is None:
        raise versions.refusal(url, state)
    folder = folder or backups_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    suffix = "db" if _is_sqlite(url) else "dump"
    target = _unused(folder, f"maloca-{now():%Y%m%dT%H%M%SZ}-{state.revision}", suffix)
    # Under this name until it is whole, so that nobody takes half a backup for one.
    draft = target.with_name(f".{target.name}.partial")
    try:
        if _is_sqlite(url):
            await asyncio.to_thread(sqlite_files.copy, _file(url), draft)
            await asyncio.to_thread(sqlite_files.verify, draft)
        else:
            await asyncio.to_thread(postgres_tools.dump, url, draft)
            await asyncio.to_thread(postgres_tools.revision_of, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target


async def restore(url: URL, path: Path) -> Path | None:
    """Bring a backup back in place of the database as it is.

    Returns:
        Where the database from before is kept; None if there was none.

    Raises:
        BadBackup: The file is damaged, something else, or from a newer version of Maloca.
        InUse: A service works with the database.
        WrongVersion: What is there now is somebody else's.
        Unavailable: The database cannot be reached, or a program for it is missing.
        OSError: A file cannot be written.
    """
    refuse_while_running()
    revision = await asyncio.to_thread(_revision_of, url, path)
    if revision not in versions.revisions():
        raise BadBackup(
            f"{path} is at revision {revision}, which this version of Maloca does not know.",
            hint="Update Maloca, then restore it.",
        )
    if _is_sqlite(url):
        place = _file(url)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        existed = place.exists()
        kept = _unused(place.parent, f"{place.stem}-before-{now():%Y%m%dT%H%M%SZ}", "db")
        await asyncio.to_thread(sqlite_files.replace, place, path, kept)
        return kept if existed else None
    tables = await _postgres_tables(url)
    state = await versions.state(url)
    before = None if state.is_empty else await backup(url)
    await asyncio.to_thread(postgres_tools.restore, url, path, tables)
    return before


async def migrate(url: URL, to: str | None = None, *, with_backup: bool = True) -> Migration:
    """Bring the database to a revision, after a backup if that changes anything.

    Args:
        url: The database.
        to: A revision, older or newer; the newest if None.
        with_backup: Whether to make the backup.

    Raises:
        InvalidRequest: There is no such revision.
        InUse: A service works with the database.
        WrongVersion: The database is not one that this version of Maloca knows.
        Unavailable: The database cannot be reached, or a program for the backup is missing.
    """
    known = versions.revisions()
    if to is not None and to not in known:
        raise InvalidRequest(
            f"There is no revision {to!r}.", hint=f"There are: {', '.join(known)}."
        )
    state = await versions.state(url)
    if not state.is_known or (state.revision is None and not state.is_empty):
        raise versions.refusal(url, state)
    target = to or versions.head()
    if state.revision == target:
        return Migration((), None)
    if not state.is_empty:
        refuse_while_running()
    kept = await backup(url) if with_backup and not state.is_empty else None
    is_older = state.revision is not None and known.index(target) < known.index(state.revision)
    move = versions.downgrade if is_older else versions.upgrade
    return Migration(tuple(await move(url, target)), kept)


def refuse_while_running() -> None:
    """See that nobody on this machine works with the database.

    Raises:
        InUse: A service runs.
    """
    for name in _USERS:
        if record := records.find(name):
            raise InUse(
                f"Maloca runs (`{name}`, pid {record.pid}) and works with the database.",
                hint="Stop it (Ctrl-C where `maloca up` runs), then try again.",
            )


def _revision_of(url: URL, path: Path) -> str:
    if not _is_sqlite(url):
        return postgres_tools.revision_of(path)
    sqlite_files.verify(path)
    query = f"select version_num from {versions.VERSION_TABLE}"  # noqa: S608 - our own constant
    uri = path.absolute().as_uri() + "?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            [(revision,)] = connection.execute(query).fetchall()
    except (sqlite3.Error, ValueError) as error:
        raise BadBackup(f"{path} is not a backup of Maloca's database.") from error
    return str(revision)


async def _postgres_tables(url: URL) -> Sequence[str]:
    """Return the tables that are there, after seeing that nobody else is connected."""
    async with versions.connect(url) as connection:
        others = await connection.scalar(
            sa.text(
                "select count(*) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        )
        if others:
            raise InUse(
                f"{others} other connections work with {versions.shown(url)}.",
                hint="Stop every server and job process that uses it, then try again.",
            )
        return await connection.run_sync(
            lambda sync: sa.inspect(sync).get_table_names(schema="public")
        )


def _is_sqlite(url: URL) -> bool:
    return url.drivername == SQLITE_DRIVER


def _file(url: URL) -> Path:
    return Path(str(url.database))


def _unused(folder: Path, name: str, suffix: str) -> Path:
    """Return a path that does not exist yet."""
    path = folder / f"{name}.{suffix}"
    number = 2
    while os.path.lexists(path):
        path = folder / f"{name}-{number}.{suffix}"
        number += 1
    return path
