"""Which database is worked with: empty, current, newer, somebody else's, or being migrated."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
import sqlalchemy as sa
from tests.server.db import migrate_once

from maloca.core.errors import Unavailable
from maloca.server.db import versions
from maloca.server.db.database import Database, database_url


async def test_an_empty_database_becomes_current(empty_database_url: str) -> None:
    url = database_url(empty_database_url)
    before = await versions.state(url)
    assert before.revision is None
    assert before.is_empty
    assert before.pending == tuple(versions.revisions())
    assert await versions.upgrade(url) == versions.revisions()
    assert await versions.upgrade(url) == []
    assert (await versions.state(url)).is_current
    assert (await versions.state(url)).revision == versions.head()


async def test_a_newer_database_is_refused(database: Database) -> None:
    async with database.write() as session:
        await session.execute(sa.text("update alembic_version set version_num = '9999'"))
    for act in (versions.prepare, versions.upgrade):
        with pytest.raises(versions.WrongVersion, match=r"9999.*newer"):
            await act(database.url)


async def test_a_database_of_somebody_else_is_refused(empty_database_url: str) -> None:
    url = database_url(empty_database_url)
    database = Database(url)
    async with database.write() as session:
        await session.execute(sa.text("create table guests (name text)"))
    await database.aclose()
    for act in (versions.prepare, versions.upgrade):
        with pytest.raises(versions.WrongVersion, match="not from Maloca's migrations"):
            await act(url)


@pytest.mark.process
def test_of_two_that_migrate_one_does(empty_database_url: str) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, migrate_once.__file__, empty_database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=60)[0].strip() for process in both)
    assert said == ["", " ".join(versions.revisions())]
    assert [process.returncode for process in both] == [0, 0]
    assert asyncio.run(versions.state(database_url(empty_database_url))).is_current


@pytest.mark.postgres
async def test_a_database_that_postgres_does_not_have(
    request: pytest.FixtureRequest,
) -> None:
    url: str = request.getfixturevalue("postgres").get_uri("nowhere")
    with pytest.raises(Unavailable, match=r'cannot be opened.*"nowhere" does not exist'):
        await versions.prepare(database_url(url))
