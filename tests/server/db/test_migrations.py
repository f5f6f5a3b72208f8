"""Migrations: what they make, with data in place, down and up again, and when they fail."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.server.db.next_revision import add_revision

from maloca.server.db import versions
from maloca.server.db.base import UtcDateTime
from maloca.server.db.database import Database, database_url
from maloca.server.db.tables import Base
from maloca.server.jobs.models import Job, JobEvent


def _checks(connection: sa.Connection) -> set[str | None]:
    """Return the names of check constraints, which Alembic does not compare."""
    inspector = sa.inspect(connection)
    return {
        check["name"]
        for table in inspector.get_table_names()
        for check in inspector.get_check_constraints(table)
    }


def _differences(connection: sa.Connection) -> list[Any]:
    options = {"compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, Base.metadata))


async def test_the_models_are_what_the_migrations_make(database: Database) -> None:
    async with versions.connect(database.url) as connection:
        assert await connection.run_sync(_differences) == []
        made = await connection.run_sync(_checks)
    wanted = {
        str(rule.name)
        for table in Base.metadata.tables.values()
        for rule in table.constraints
        if isinstance(rule, sa.CheckConstraint)
    }
    assert made == wanted


async def test_a_forgotten_migration_would_be_noticed(database: Database) -> None:
    """The comparison above sees a missing column, index or table."""
    async with database.write() as session:
        await session.execute(sa.text("drop index ix_jobs_queue"))
        await session.execute(sa.text("alter table users drop column last_login_at"))
        await session.execute(sa.text("drop table refresh_tokens"))
    async with versions.connect(database.url) as connection:
        found = await connection.run_sync(_differences)
    assert [difference[0] for difference in found] == [
        "add_table",
        "add_index",
        "add_index",
        "add_column",
    ]


async def test_every_migration_goes_down_and_up_with_data_in_place(database: Database) -> None:
    await fill(database)
    for revision in [*versions.revisions()[-2::-1], "base"]:
        assert len(await versions.downgrade(database.url, revision)) == 1
    state = await versions.state(database.url)
    assert state.is_empty
    assert state.revision is None
    for revision in versions.revisions():
        assert await versions.upgrade(database.url, revision) == [revision]
    await fill(database)


async def fill(database: Database) -> None:
    """Store a row in every table."""
    keys: dict[str, Any] = {}
    async with database.write() as session:
        for table in Base.metadata.sorted_tables:
            row = {}
            for column in table.columns:
                if column.foreign_keys:
                    row[column.name] = keys[next(iter(column.foreign_keys)).column.table.name]
                elif column.name == "state":
                    row[column.name] = "queued"
                elif not column.nullable:
                    row[column.name] = sample(column)
            keys[table.name] = next(iter(row.values()))
            await session.execute(sa.insert(table).values(row))


def sample(column: sa.Column[Any]) -> Any:
    """Return a value that the column takes."""
    if isinstance(column.type, sa.JSON):
        return {}
    if isinstance(column.type, UtcDateTime):
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    samples = {bool: False, bytes: b"some", float: 1.0, int: 1, str: "some"}
    return (samples | {dt.date: dt.date(2026, 1, 1)})[column.type.python_type]


async def jobs(database: Database, *columns: str) -> list[tuple[Any, ...]]:
    async with database.read() as session:
        query = sa.text(f"select {', '.join(columns)} from jobs order by id")  # noqa: S608 - the test's own columns
        return [tuple(row) for row in await session.execute(query)]


async def put(database: Database) -> None:
    """Store two jobs, one of them with an event that refers to it."""
    async with database.write() as session:
        for name, priority in (("a", 7), ("b", 1)):
            job = Job(id=name, kind="demo", payload={}, max_attempts=1, priority=priority)
            session.add(job)
        await session.flush()
        session.add(JobEvent(job_id="a", sequence=1, type="queued", data={}))


async def events(database: Database) -> int | None:
    async with database.read() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(JobEvent))


async def test_remaking_a_table_loses_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite drops the old table on the way, and what refers to it must stay."""
    await put(database)
    before = versions.head()
    add_revision(tmp_path / "migrations", monkeypatch)
    with pytest.raises(versions.WrongVersion, match="this version of Maloca needs next") as raised:
        await versions.prepare(database.url)
    assert raised.value.info.hint == "Run `maloca db migrate`; it makes a backup first."
    assert await versions.upgrade(database.url) == ["next"]
    assert await jobs(database, "id", "colour") == [("a", "green"), ("b", "red")]
    assert await events(database) == 1
    assert await versions.downgrade(database.url, before) == ["next"]
    assert await jobs(database, "id", "priority") == [("a", 7), ("b", 1)]
    assert await events(database) == 1
    async with versions.connect(database.url) as connection:
        assert await connection.run_sync(_differences) == []


async def test_a_migration_that_fails_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(database)
    add_revision(tmp_path / "migrations", monkeypatch, then="raise OSError('no room')")
    with pytest.raises(OSError, match="no room"):
        await versions.upgrade(database.url)
    assert (await versions.state(database.url)).pending == ("next",)
    assert await jobs(database, "id", "priority") == [("a", 7), ("b", 1)]
    with pytest.raises(sa.exc.DBAPIError):
        await jobs(database, "colour")


async def test_a_migration_must_leave_no_broken_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not check while it remakes tables, and only says so when asked."""
    url = database_url(f"sqlite:///{tmp_path / 'maloca.db'}")
    await versions.upgrade(url)
    database = Database(url)
    await put(database)
    add_revision(tmp_path / "migrations", monkeypatch, then="op.execute('delete from jobs')")
    with pytest.raises(RuntimeError, match="leaves 1 rows that refer to nothing"):
        await versions.upgrade(url)
    assert await jobs(database, "id", "priority") == [("a", 7), ("b", 1)]
    await database.aclose()
