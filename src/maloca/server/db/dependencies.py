"""Sessions for routes: one request, one transaction, committed before the response is made."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.db.database import Database


async def _database(request: Request) -> Database:
    database: Database = request.state.database
    return database


DatabaseDep = Annotated[Database, Depends(_database)]


async def _read(database: DatabaseDep) -> AsyncGenerator[AsyncSession, None]:
    async with database.read() as session:
        yield session


async def _write(database: DatabaseDep) -> AsyncGenerator[AsyncSession, None]:
    async with database.write() as session:
        yield session


# With scope="function" the transaction ends when the endpoint returns, before anything is sent.
ReadSession = Annotated[AsyncSession, Depends(_read, scope="function")]
WriteSession = Annotated[AsyncSession, Depends(_write, scope="function")]
