"""What inference keeps of an account is in its export, and goes with it."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func, select
from tests.server.inference.cache.answers import answer
from tests.server.usage.test_recorder import row

from maloca.server.accounts import export, repository
from maloca.server.accounts.models import User
from maloca.server.db.database import Database
from maloca.server.inference.cache.models import CachedAnswer
from maloca.server.inference.cache.store import AnswerStore
from maloca.server.limits.budgets import TokenBudgets
from maloca.server.limits.models import TokenSpend
from maloca.server.usage.models import UsageEvent
from maloca.server.usage.repository import add_events

TABLES = (UsageEvent, CachedAnswer, TokenSpend)


async def test_of_one_account_alone(database: Database) -> None:
    store = AnswerStore(database, max_bytes=10_000, seconds=60)
    budgets = TokenBudgets(database, today=lambda: dt.date(2026, 5, 1))
    for name in ("ana", "luis"):
        async with database.write() as session:
            user = User(id=name, username=name, username_key=name, role="user")
            user.password_hash = "x"  # noqa: S105 - nobody signs in with it
            session.add(user)
            await add_events(session, [row(user_id=name)])
        store.put(name.ljust(64, "0"), f"user:{name}", answer())
        await budgets.reserve(f"user:{name}", 10, cap=100)
    await store.flush()
    async with database.write() as session:
        found = await export.of_user(session, "ana")
        assert [found[table.__tablename__][0].get("tokens") for table in TABLES] == [None, None, 10]
        assert {len(found[table.__tablename__]) for table in TABLES} == {1}
        assert "body" not in found["cached_answers"][0]
        await repository.delete_user(session, "ana")
    async with database.read() as session:
        for table in TABLES:
            assert await session.scalar(select(func.count()).select_from(table)) == 1
        left = await export.of_user(session, "luis")
        assert {len(left[table.__tablename__]) for table in TABLES} == {1}
