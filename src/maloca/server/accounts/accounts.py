"""What accounts need while the server runs; made in the lifespan, yielded as state."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from typing import Any, Final, Self

from sqlalchemy.exc import SQLAlchemyError

from maloca.core.home import home
from maloca.server.accounts import audit_repository, repository, session_repository, signing_key
from maloca.server.accounts.passwords import Passwords, measure
from maloca.server.accounts.principal import Principal
from maloca.server.accounts.throttle import LoginThrottle
from maloca.server.accounts.tokens import TokenSigner
from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.limits.shared_windows import connect, shared_windows
from maloca.server.limits.windows import MemoryWindows
from maloca.server.settings import ServerSettings

_NOTE_SECONDS: Final = 60
_NOTED: Final = 10_000


class Accounts:
    """Settings, keys and the clocks of credentials."""

    def __init__(
        self,
        settings: ServerSettings,
        database: Database,
        *,
        signer: TokenSigner,
        passwords: Passwords,
        throttle: LoginThrottle,
        redis: Any = None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.signer = signer
        self.passwords = passwords
        self.throttle = throttle
        self._redis = redis
        self._noted: dict[str, float] = {}

    @classmethod
    async def open(cls, settings: ServerSettings, database: Database) -> Self:
        """Return the accounts of a server, without what has expired.

        What a password should cost is measured.

        Raises:
            BadSetting: The kept secret is damaged, or Redis is set and its client is missing.
        """
        secret = (
            settings.secret_key.get_secret_value()
            if settings.secret_key
            else signing_key.load_or_create(home())
        )
        cost = await asyncio.to_thread(measure)
        async with database.write() as session:
            oldest = now() - dt.timedelta(days=settings.audit_days)
            await audit_repository.delete_before(session, oldest)
            await session_repository.delete_expired(session)
        url = settings.redis_url
        redis = connect(url.get_secret_value()) if url else None
        return cls(
            settings,
            database,
            signer=TokenSigner(secret, minutes=settings.access_token_minutes),
            passwords=Passwords(cost),
            throttle=LoginThrottle(shared_windows(redis) if redis else MemoryWindows()),
            redis=redis,
        )

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.disconnect()

    def session_end(self) -> dt.datetime:
        """Return when a session ends that is used now and never again."""
        return now() + dt.timedelta(days=self.settings.session_days)

    async def note_use(self, principal: Principal) -> None:
        """Write down that a session or key was used, at most once a minute for each."""
        used = principal.key_id or principal.session_id
        present = time.monotonic()
        if used is None or present - self._noted.get(used, -_NOTE_SECONDS) < _NOTE_SECONDS:
            return
        if len(self._noted) >= _NOTED:
            self._noted.clear()
        self._noted[used] = present
        # The time of last use is worth nobody's request.
        with contextlib.suppress(SQLAlchemyError):
            async with self.database.write() as session:
                await repository.note_use(session, principal, session_expires_at=self.session_end())
