"""Backups taken while others write, restored, refused; and migrations that begin with one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.server.db import write_pairs
from tests.server.db.next_revision import add_revision

from maloca.asgi import records
from maloca.core.errors import InvalidRequest, Unavailable
from maloca.server.db import maintenance, postgres_tools, sqlite_files, versions
from maloca.server.db.database import Database, database_url
from maloca.server.jobs.models import Job

pytestmark = pytest.mark.usefixtures("home")


async def put(database: Database, **priorities: int) -> None:
    """Store jobs whose priority is what a test looks at."""
    async with database.write() as session:
        for name, priority in priorities.items():
            session.add(Job(id=name, kind="demo", payload={}, max_attempts=1, priority=priority))


async def execute(database: Database, statement: str, **values: str) -> None:
    async with database.write() as session:
        await session.execute(sa.text(statement), values)


async def read(url: str) -> dict[str, int]:
    database = Database(database_url(url))
    async with database.read() as session:
        rows = (await session.execute(sa.select(Job.id, Job.priority))).all()
    await database.aclose()
    return dict(rows)


@contextmanager
def writers(url: str, count: int = 2) -> Iterator[None]:
    """Let processes write without pause."""
    running = [
        subprocess.Popen(
            [sys.executable, write_pairs.__file__, url], stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    try:
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "writing\n"
        yield
        assert [process.poll() for process in running] == [None] * count
    finally:
        for process in running:
            process.kill()
            process.communicate()


@pytest.mark.process
async def test_a_backup_under_load_is_consistent(
    database: Database, migrated_database_url: str, home: Path
) -> None:
    await put(database, left=0, right=100)
    await database.aclose()
    with writers(migrated_database_url):
        backups = [await maintenance.backup(database.url) for _ in range(3)]
    assert len({backup.name for backup in backups}) == 3
    for backup in backups:
        assert backup.parent == home / "backups"
        assert backup.stat().st_mode & 0o777 == 0o600
        assert f"Z-{versions.head()}" in backup.name
        await maintenance.restore(database.url, backup)
        assert (await versions.state(database.url)).is_current
        found = await read(migrated_database_url)
        assert found["left"] + found["right"] == 100
    assert not list((home / "backups").glob(".*"))


async def test_a_restore_keeps_what_was_there(
    database: Database, migrated_database_url: str, tmp_path: Path
) -> None:
    await put(database, one=1)
    backup = await maintenance.backup(database.url, tmp_path / "elsewhere")
    await put(database, two=2)
    await database.aclose()
    kept = await maintenance.restore(database.url, backup)
    assert await read(migrated_database_url) == {"one": 1}
    assert kept is not None
    assert kept.stat().st_mode & 0o777 == 0o600
    again = await maintenance.restore(database.url, kept)
    assert await read(migrated_database_url) == {"one": 1, "two": 2}
    assert again != kept


async def test_a_restore_into_nothing(
    database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    await put(database, one=1)
    backup = await maintenance.backup(database.url, tmp_path / "elsewhere")
    await versions.downgrade(database.url, "base")
    await database.aclose()
    await maintenance.restore(database.url, backup)
    assert await read(empty_database_url) == {"one": 1}


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "foreign", "newer"])
async def test_a_damaged_backup_changes_nothing(
    database: Database, migrated_database_url: str, tmp_path: Path, damage: str
) -> None:
    await put(database, one=1)
    if damage == "newer":
        await execute(database, "update alembic_version set version_num = '9999'")
    backup = await maintenance.backup(database.url, tmp_path / "elsewhere")
    if damage == "newer":
        head = versions.head()
        await execute(database, "update alembic_version set version_num = :head", head=head)
    if damage == "foreign":
        backup.unlink()
        await execute(database, "alter table alembic_version rename to other")
        with pytest.raises(versions.WrongVersion):
            await maintenance.backup(database.url)
        if database.is_sqlite:
            sqlite_files.copy(tmp_path / "maloca.db", backup)
        else:
            postgres_tools.dump(database.url, backup)
        await execute(database, "alter table other rename to alembic_version")
    await put(database, two=2)
    await database.aclose()
    if damage == "missing":
        backup.unlink()
    elif damage == "text":
        backup.write_text("Once upon a time")
    elif damage == "cut":
        content = backup.read_bytes()
        backup.write_bytes(content[: len(content) // 2])
    with pytest.raises(maintenance.BadBackup, match=str(backup)):
        await maintenance.restore(database.url, backup)
    assert await read(migrated_database_url) == {"one": 1, "two": 2}


async def test_nothing_is_restored_while_somebody_works_with_it(
    database: Database, tmp_path: Path
) -> None:
    backup = await maintenance.backup(database.url, tmp_path / "elsewhere")
    async with database.read() as session:
        await session.execute(sa.select(Job))
        with pytest.raises(maintenance.InUse, match=r"works? with"):
            await maintenance.restore(database.url, backup)
    record = records.write("jobs", "")
    try:
        with pytest.raises(maintenance.InUse, match=r"Maloca runs \(`jobs`, pid"):
            await maintenance.restore(database.url, backup)
    finally:
        records.remove(record)


async def test_there_is_nothing_to_back_up_yet(empty_database_url: str) -> None:
    with pytest.raises(InvalidRequest, match="no database at"):
        await maintenance.backup(database_url(empty_database_url))


async def test_a_migration_begins_with_a_backup(
    database: Database, migrated_database_url: str
) -> None:
    await put(database, one=1)
    nothing = await maintenance.migrate(database.url)
    assert nothing == maintenance.Migration((), None)
    with pytest.raises(InvalidRequest, match="no revision 'last'"):
        await maintenance.migrate(database.url, "last")
    await versions.downgrade(database.url, "base")
    # Of an empty database there is nothing to keep.
    fresh = await maintenance.migrate(database.url)
    assert fresh == maintenance.Migration(tuple(versions.revisions()), None)
    assert await read(migrated_database_url) == {}


async def test_a_migration_can_be_undone_by_its_backup(
    database: Database, migrated_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(database, one=1)
    await database.aclose()
    old = versions.head()
    with monkeypatch.context() as newer:
        add_revision(tmp_path / "migrations", newer)
        record = records.write("server", "")
        try:
            with pytest.raises(maintenance.InUse):
                await maintenance.migrate(database.url)
        finally:
            records.remove(record)
        done = await maintenance.migrate(database.url)
        assert done.steps == ("next",)
        assert done.backup is not None
        assert f"Z-{old}." in done.backup.name
        back = await maintenance.migrate(database.url, old, with_backup=False)
        assert back == maintenance.Migration(("next",), None)
        again = await maintenance.migrate(database.url, "next")
        assert again.backup != done.backup
    with pytest.raises(versions.WrongVersion, match="revision next, which this version"):
        await versions.prepare(database.url)
    assert again.backup is not None
    await maintenance.restore(database.url, again.backup)
    await versions.prepare(database.url)
    assert await read(migrated_database_url) == {"one": 1}


async def test_missing_programs_are_named(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if database.is_sqlite:
        await maintenance.backup(database.url)
        return
    with pytest.raises(Unavailable, match="pg_dump is not on PATH") as raised:
        await maintenance.backup(database.url)
    assert "postgresql-client" in str(raised.value.info.hint)
    (tmp_path / "some.dump").touch()
    with pytest.raises(Unavailable, match="pg_restore is not on PATH"):
        await maintenance.restore(database.url, tmp_path / "some.dump")


@pytest.mark.parametrize("what", ["damaged", "folder"])
async def test_a_file_that_is_no_database(tmp_path: Path, what: str) -> None:
    path = tmp_path / "maloca.db"
    if what == "folder":
        path.mkdir()
    else:
        path.write_text("This is a letter, not a database. " * 100)
    with pytest.raises(Unavailable, match=r"maloca\.db cannot be opened"):
        await versions.prepare(database_url(f"sqlite:///{path}"))


async def test_a_server_that_is_not_there_keeps_its_password() -> None:
    url = database_url("postgresql://ana:s3cret@127.0.0.1:9/maloca?sslmode=disable")
    with pytest.raises(Unavailable) as raised:
        await versions.prepare(url)
    told: list[Any] = [raised.value, raised.value.info]
    assert "postgresql://ana:***@127.0.0.1:9/maloca cannot be opened" in str(told)
    assert "s3cret" not in repr(told)
