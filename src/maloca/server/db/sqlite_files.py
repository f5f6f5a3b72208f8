"""Copies of an SQLite database: taken while others write, checked, and put back in its place."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from maloca.core.errors import InvalidRequest, Unavailable

_BUSY_SECONDS: Final = 10.0
_BESIDE: Final = ("-wal", "-shm")


class BadBackup(InvalidRequest):
    """A file is not a whole backup of Maloca's database."""

    code = "bad_backup"


class InUse(Unavailable):
    """Somebody works with the database."""

    code = "database_in_use"


def copy(source: Path, target: Path) -> None:
    """Write the database as it is at one moment into a new file, for its owner only.

    Writers go on meanwhile. What is not committed at that moment is not in the copy.

    Raises:
        Unavailable: The database cannot be read.
        OSError: The target cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with contextlib.closing(_open(source)) as old, contextlib.closing(_open(target)) as new:
            # All pages in one step: one read transaction, so one moment.
            old.backup(new)
            # One file is all there is to keep, without a log beside it.
            new.execute("PRAGMA journal_mode=DELETE")
        _sync(target)
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise Unavailable(
            f"{source} cannot be read: {error}.", code="database_unavailable"
        ) from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def verify(path: Path) -> None:
    """Read the whole file, and see that it is a sound database.

    Raises:
        BadBackup: It is damaged, or something else.
    """
    if not path.is_file():
        raise BadBackup(f"There is no file {path}.")
    try:
        with contextlib.closing(_open(path, read_only=True)) as connection:
            [(said,), *_] = connection.execute("PRAGMA integrity_check").fetchall()
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        raise BadBackup(f"{path} is not a sound SQLite database: {error}.") from error
    if said != "ok":
        raise BadBackup(f"{path} is damaged: {said}.")
    if broken:
        raise BadBackup(f"{path} is damaged: {len(broken)} rows refer to nothing.")


def replace(place: Path, backup: Path, kept: Path) -> None:
    """Put a copy of `backup` at `place`, and keep what was there as `kept`.

    A process that is killed at any moment leaves either the old database in its place or the
    new one, never none.

    Raises:
        InUse: Somebody has the database open.
        OSError: A file cannot be written.
    """
    draft = place.with_name(f".{place.name}.restoring")
    draft.unlink(missing_ok=True)
    copy(backup, draft)
    try:
        if place.exists():
            _merge_log(place)
            for beside in _BESIDE:
                # Only a damaged database still has one here.
                log = place.with_name(place.name + beside)
                if log.exists():
                    shutil.copy2(log, kept.with_name(kept.name + beside))
                    log.unlink()
            _link(place, kept)
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    _sync(place.parent)


def _merge_log(place: Path) -> None:
    """Bring everything into the one file, which only works when nobody else has it open."""
    try:
        with contextlib.closing(_open(place, busy_seconds=1.0)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            return
        raise InUse(
            f"Another process works with {place}.",
            hint="Stop Maloca (Ctrl-C where `maloca up` runs), then try again.",
        ) from error
    except sqlite3.DatabaseError:
        # What is damaged is kept as it is; it is why there are backups.
        return


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where there are no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _open(
    path: Path, *, read_only: bool = False, busy_seconds: float = _BUSY_SECONDS
) -> sqlite3.Connection:
    mode = "?mode=ro" if read_only else "?mode=rw"
    uri = path.absolute().as_uri() + mode
    return sqlite3.connect(uri, uri=True, timeout=busy_seconds, isolation_level=None)


def _sync(path: Path) -> None:
    """See that the file or folder is on the disk; Windows does so for folders by itself."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
