"""Accounts and keys, made without the ceremony of signing up."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from maloca.server.accounts.models import ApiKey, User
from maloca.server.accounts.principal import Role
from maloca.server.accounts.tokens import API_KEY, digest, new_secret
from maloca.server.db.base import now
from maloca.server.db.database import Database, database_url
from maloca.server.usage.models import UsageEvent


@dataclass(frozen=True)
class Person:
    """An account with a key."""

    user_id: str
    key: str
    key_id: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class People:
    """Changes the accounts of a running server behind its back."""

    def __init__(self, url: str) -> None:
        self.url = url

    def add(
        self,
        username: str,
        *,
        role: Role = "user",
        scopes: str = "inference knowledge admin",
        disabled: bool = False,
        expired: bool = False,
    ) -> Person:
        """Add an account with one key."""

        async def work(session: Any) -> Person:
            user = User(
                username=username,
                username_key=username,
                password_hash="x",  # noqa: S106 - nobody signs in with it
                role=role,
                disabled_at=now() if disabled else None,
            )
            session.add(user)
            await session.flush()
            secret = new_secret(API_KEY)
            ends = now() - dt.timedelta(hours=1) if expired else None
            key = ApiKey(
                user_id=user.id,
                name="key",
                prefix=secret[:12],
                key_hash=digest(secret),
                scopes=scopes,
                expires_at=ends,
            )
            session.add(key)
            await session.flush()
            return Person(user.id, secret, key.id)

        return self._run(work)

    def revoke(self, person: Person) -> None:
        """Remove a key."""

        async def work(session: Any) -> None:
            await session.delete(await session.get(ApiKey, person.key_id))

        self._run(work)

    def usage(self) -> Sequence[UsageEvent]:
        """Return every row of usage, oldest first."""

        async def work(session: Any) -> Sequence[UsageEvent]:
            rows: Sequence[UsageEvent] = (
                await session.scalars(select(UsageEvent).order_by(UsageEvent.at))
            ).all()
            return rows

        return self._run(work)

    def _run(self, work: Any) -> Any:
        async def inside() -> Any:
            database = Database(database_url(self.url))
            try:
                async with database.write() as session:
                    return await work(session)
            finally:
                await database.aclose()

        return asyncio.run(inside())
