"""`maloca db` on an SQLite file, in whole outputs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maloca.asgi import records
from maloca.cli.main import app
from maloca.server.db import versions


def run(*words: str, code: int = 0) -> tuple[str, str]:
    """Run a command; return what it wrote to stdout and stderr."""
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def execute(path: Path, statement: str) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("db", "path") == (f"{home / 'maloca.db'}\n", "")
    monkeypatch.setenv("MALOCA_DATABASE_URL", "postgres://ana:s3cret@db.example:5433/maloca")
    assert run("db", "path") == ("postgresql://ana:***@db.example:5433/maloca\n", "")
    monkeypatch.setenv("MALOCA_DATABASE_URL", "mysql://ana:s3cret@db.example/maloca")
    _, err = run("db", "path", code=2)
    assert err == (
        "Error: MALOCA_DATABASE_URL: 'mysql' is not known; use sqlite:///FILE or "
        "postgresql://USER:PASSWORD@HOST/NAME.\n"
    )


def test_from_nothing_to_a_backup_and_back(home: Path) -> None:
    database = home / "maloca.db"
    assert run("db", "backup", code=1) == ("", f"Error: There is no database at {database} yet.\n")
    steps = ", ".join(versions.revisions())
    assert run("db", "migrate") == ("", f"The database was migrated: {steps}.\n")
    assert database.stat().st_mode & 0o777 == 0o600
    assert run("db", "migrate") == ("", "The database is at that revision already.\n")

    execute(
        database,
        "insert into audit_events (at, action, actor, target, address, detail) "
        "values ('2026-01-01', 'test', 'ana', '', '', '{}')",
    )
    out, err = run("db", "backup")
    backup = Path(out.strip())
    assert backup.parent == home / "backups"
    assert err == f"Bring it back with `maloca db restore {backup}`.\n"
    execute(database, "delete from audit_events")

    _, err = run("db", "restore", str(backup), code=1)
    assert err == (
        f"Error: Nobody is there to confirm that {database} is replaced.\n"
        f"Run `maloca db restore {backup} --yes`.\n"
    )
    out, err = run("db", "restore", str(backup), "--yes")
    [kept] = home.glob("maloca-before-*.db")
    assert (out, err) == ("", f"{database} is as in {backup}.\nWhat was there before is {kept}.\n")
    assert execute(database, "select actor from audit_events") == [("ana",)]
    assert execute(kept, "select actor from audit_events") == []


def test_restore_refuses(home: Path) -> None:
    run("db", "migrate")
    letter = home / "letter.db"
    letter.write_text("Dear Ana")
    out, err = run("db", "restore", str(letter), "--yes", code=1)
    assert (out, err) == (
        "",
        f"Error: {letter} is not a sound SQLite database: file is not a database.\n",
    )
    record = records.write("up", "")
    try:
        _, err = run("db", "restore", str(letter), "--yes", code=1)
    finally:
        records.remove(record)
    assert err == (
        f"Error: Maloca runs (`up`, pid {record.pid}) and works with the database.\n"
        "Stop it (Ctrl-C where `maloca up` runs), then try again.\n"
    )


def test_a_newer_database_is_refused_by_every_command(home: Path) -> None:
    run("db", "migrate")
    execute(home / "maloca.db", "update alembic_version set version_num = '9999'")
    for words in (("db", "migrate"), ("jobs", "list"), ("server", "serve"), ("up", "--no-open")):
        _, err = run(*words, code=1)
        assert err == (
            f"Error: {home / 'maloca.db'} is at revision 9999, which this version of Maloca does "
            "not know: a newer one has migrated it.\n"
            "Update Maloca, or bring back the backup from before: `maloca db restore FILE`.\n"
        )


def test_what_cannot_be_written_is_said(home: Path) -> None:
    run("db", "migrate")
    (home / "backups").write_text("a file where the folder should be")
    _, err = run("db", "backup", code=1)
    assert err.startswith("Error: A file cannot be written: ")
    assert err.endswith("See that there is room and that the folder is yours.\n")
