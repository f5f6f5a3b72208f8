"""Connections and transactions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from maloca.core.settings import BadSetting

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}
BUSY_SECONDS: Final = 10


def database_url(given: str) -> URL:
    """Return the URL with the driver that Maloca uses.

    Raises:
        BadSetting: It is no URL, or of a database that Maloca does not know.
    """
    try:
        url = make_url(given)
    except Exception as error:
        raise BadSetting("MALOCA_DATABASE_URL is not a database URL.") from error
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise BadSetting(
            f"MALOCA_DATABASE_URL: {url.drivername!r} is not known; "
            "use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
        )
    return url.set(drivername=driver)


class Database:
    """One database; close it at the end."""

    def __init__(self, url: URL) -> None:
        """Connect lazily; a missing folder of an SQLite file is made."""
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if url.database and url.database != ":memory:":
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine: AsyncEngine = create_async_engine(
                url, connect_args={"timeout": BUSY_SECONDS}
            )
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = create_async_engine(
                url, pool_size=10, max_overflow=20, pool_pre_ping=True
            )

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncSession, None]:
        """Yield a session that only reads; nothing is committed."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncSession, None]:
        """Yield a session in one transaction: committed at the end, rolled back on any error.

        On SQLite the transaction takes the write lock when it begins, so that it waits for other
        writers there instead of failing half-way.
        """
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            await session.connection(execution_options={"maloca_write": True})
            yield session
            await session.commit()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Set what SQLite forgets with each connection."""
    # SQLAlchemy begins transactions itself, see _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    write = connection.get_execution_options().get("maloca_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
