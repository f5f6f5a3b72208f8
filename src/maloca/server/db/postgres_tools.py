"""Copies of a PostgreSQL database, by PostgreSQL's own programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from maloca.core.errors import Unavailable
from maloca.server.db.sqlite_files import BadBackup

_HINT: Final = (
    "Install PostgreSQL's client programs (Debian: `apt install postgresql-client`; "
    "macOS: `brew install libpq`) and see that they are on PATH."
)
_SHOWN_LINES: Final = 5
# Every table and sequence of the schema, but not the schema, which may not be ours to make.
_TABLES: Final = "--table=public.*"
_REVISION: Final = re.compile(
    r"^COPY public\.alembic_version .*\n(?P<revision>[^\n]+)\n", re.MULTILINE
)


class ToolFailed(Unavailable):
    """A program of PostgreSQL is missing, or failed."""

    code = "database_tool_failed"


def dump(url: URL, target: Path) -> None:
    """Write the database as it is at one moment into a new file, for its owner only.

    Raises:
        ToolFailed: `pg_dump` is missing, or says why not.
        OSError: The target cannot be written.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    common = ["--format=custom", "--no-owner", "--no-privileges", "--no-password", _TABLES]
    try:
        _run("pg_dump", url, [*common, f"--file={target}"])
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def revision_of(path: Path) -> str:
    """Read a dump to its end and return the revision of the database in it.

    Raises:
        BadBackup: It is damaged, or something else.
        ToolFailed: `pg_restore` is missing.
    """
    if not path.is_file():
        raise BadBackup(f"There is no file {path}.")
    with tempfile.TemporaryDirectory(prefix="maloca-") as folder:
        script = Path(folder) / "revision.sql"
        _to_sql(path, Path(os.devnull))
        _to_sql(path, script, "--data-only", "--table=alembic_version")
        found = _REVISION.search(script.read_text("utf-8", "replace"))
    if found is None:
        raise BadBackup(f"{path} is not a backup of Maloca's database.")
    return found["revision"]


def restore(url: URL, path: Path, old_tables: Sequence[str]) -> None:
    """Replace the tables by those of a dump, in one transaction.

    Args:
        url: The database.
        path: The dump.
        old_tables: What is in the database now.

    Raises:
        ToolFailed: A program is missing or failed; the database is as it was.
        BadBackup: The dump is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="maloca-") as folder:
        script = Path(folder) / "restore.sql"
        _to_sql(path, script)
        drops = [f'--command=DROP TABLE IF EXISTS public."{name}" CASCADE' for name in old_tables]
        _run(
            "psql",
            url,
            [
                "--no-psqlrc",
                "--quiet",
                "--no-password",
                "--single-transaction",
                "--set=ON_ERROR_STOP=1",
                *drops,
                f"--file={script}",
            ],
        )


def _to_sql(path: Path, script: Path, *options: str) -> None:
    """Turn a dump, or what the options choose of it, into SQL."""
    common = ["--no-owner", "--no-privileges", f"--file={script}"]
    try:
        _run("pg_restore", None, [*common, *options, str(path)])
    except ToolFailed as error:
        if error.info.code == "database_tool_missing":
            raise
        raise BadBackup(f"{path} is not a sound backup: {error.info.message}") from error


def _run(program: str, url: URL | None, options: Sequence[str]) -> None:
    found = shutil.which(program)
    if found is None:
        raise ToolFailed(
            f"PostgreSQL's program {program} is not on PATH.",
            code="database_tool_missing",
            hint=_HINT,
        )
    environment = dict(os.environ)
    where = []
    if url is not None:
        where = [f"--dbname={_conninfo(url)}"]
        if url.password is not None:
            # On the command line every user of the machine could read it.
            environment["PGPASSWORD"] = str(url.password)
    done = subprocess.run(
        [found, *where, *options],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ToolFailed(f"{program} failed: {' '.join(said[-_SHOWN_LINES:])}")


def _conninfo(url: URL) -> str:
    """Return the URL as PostgreSQL's programs take it, without the password."""
    query = {key: value for key, value in url.query.items() if key != "pgbouncer"}
    plain = URL.create(
        "postgresql",
        username=url.username,
        host=url.host,
        port=url.port,
        database=url.database,
        query=query,
    )
    return plain.render_as_string(hide_password=False)
