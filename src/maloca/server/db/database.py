"""Connections and transactions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from maloca.core.ids import new_id
from maloca.core.settings import BadSetting

SQLITE_DRIVER: Final = "sqlite+aiosqlite"
_DRIVERS: Final = {
    "sqlite": SQLITE_DRIVER,
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
        self.engine: AsyncEngine = new_engine(url)

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


def new_engine(
    url: URL, *, foreign_keys: bool = True, busy_seconds: float = BUSY_SECONDS
) -> AsyncEngine:
    """Return an engine; the missing folder of an SQLite file is made.

    Args:
        url: As `database_url` returns it.
        foreign_keys: Whether SQLite checks them; PostgreSQL always does.
        busy_seconds: How long an SQLite connection waits for another one that writes.
    """
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = create_async_engine(url, connect_args={"timeout": busy_seconds})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite(foreign_keys=foreign_keys))
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    plain, options = _postgres_options(url)
    return create_async_engine(
        plain, connect_args=options, pool_size=10, max_overflow=20, pool_pre_ping=True
    )


def _postgres_options(url: URL) -> tuple[URL, dict[str, Any]]:
    """Translate what URLs for other PostgreSQL clients say into what asyncpg understands.

    `sslmode` is asyncpg's `ssl`; `pgbouncer=true` means a pooler that gives each transaction
    another connection, on which prepared statements are not to be found again.
    """
    query = dict(url.query)
    options: dict[str, Any] = {}
    if mode := query.pop("sslmode", None):
        options["ssl"] = mode
    query.pop("channel_binding", None)
    if query.pop("pgbouncer", None) == "true":
        options |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"maloca_{new_id()}",
        }
    return url.set(query=query), options


def _prepare_sqlite(*, foreign_keys: bool) -> Callable[[Any, Any], None]:
    """Return what sets the things that SQLite forgets with each connection."""

    def prepare(connection: Any, _record: Any) -> None:
        # SQLAlchemy begins transactions itself, see _begin_sqlite.
        connection.isolation_level = None
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
            cursor.close()
        except BaseException:
            # The pool has not seen this connection yet, and would leave its thread behind.
            connection.close()
            raise

    return prepare


def _begin_sqlite(connection: Any) -> None:
    write = connection.get_execution_options().get("maloca_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
