"""What accounts need while the server runs; made in the lifespan, yielded as state."""

from __future__ import annotations

import contextlib
import time
from typing import Final, Self

from sqlalchemy.exc import SQLAlchemyError

from maloca.core.home import home
from maloca.server.accounts import repository, signing_key
from maloca.server.accounts.principal import Principal
from maloca.server.accounts.tokens import TokenSigner
from maloca.server.db.database import Database
from maloca.server.settings import ServerSettings

_NOTE_SECONDS: Final = 60
_NOTED: Final = 10_000


class Accounts:
    """Settings, keys and the clocks of credentials."""

    def __init__(self, settings: ServerSettings, database: Database, signer: TokenSigner) -> None:
        self.settings = settings
        self.database = database
        self.signer = signer
        self._noted: dict[str, float] = {}

    @classmethod
    async def open(cls, settings: ServerSettings, database: Database) -> Self:
        """Return the accounts of a server.

        Raises:
            BadSetting: The kept secret is damaged.
        """
        secret = (
            settings.secret_key.get_secret_value()
            if settings.secret_key
            else signing_key.load_or_create(home())
        )
        return cls(settings, database, TokenSigner(secret, minutes=settings.access_token_minutes))

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
                await repository.note_use(session, principal)
