"""What each caller may ask for: the defaults, and exceptions for roles, users and keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from maloca.server.accounts import address
from maloca.server.accounts.principal import Principal
from maloca.server.db.database import Database
from maloca.server.limits import repository
from maloca.server.limits.rates import Rate

REFRESH_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one caller may ask for; None means without a limit.

    `bucket` names whose requests are counted together.
    """

    rate: Rate | None
    tokens_per_day: int | None
    bucket: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Exception:
    rate: Rate | None
    tokens_per_day: int | None


class Allowances:
    """Looks a caller up; exceptions are read again every few seconds, for all replicas alike."""

    def __init__(
        self,
        database: Database,
        *,
        predict: Rate,
        tokens_per_day: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet.

        Args:
            database: Where the exceptions are.
            predict: What anybody may ask of `/predict`; the dialects have no rate by default.
            tokens_per_day: What anybody may use in a day; None means without a limit.
            clock: Monotonic seconds, for tests.
        """
        self._database = database
        self._predict = predict
        self._tokens = tokens_per_day
        self._clock = clock
        self._found: dict[tuple[str, str], _Exception] = {}
        self._read_at = float("-inf")

    async def of(self, caller: Principal, *, predict: bool) -> Allowance:
        """Return what a caller may ask for: a key's exception beats its user's and role's."""
        await self._refresh()
        rate, tokens = self._predict if predict else None, self._tokens
        who = caller.tenant if caller.user_id else f"ip:{address.bucket(caller.address)}"
        bucket = (who, "predict" if predict else "dialects")
        ranks = (("role", caller.role), ("user", caller.user_id), ("key", caller.key_id))
        for kind, name in ranks:
            found = self._found.get((kind, name)) if name else None
            if found is None:
                continue
            tokens = tokens if found.tokens_per_day is None else found.tokens_per_day
            if found.rate is not None:
                rate = found.rate
                bucket = (who, f"key:{name}" if kind == "key" else "inference")
        return Allowance(rate, tokens, bucket)

    def forget(self) -> None:
        """Read the exceptions again at the next request."""
        self._read_at = float("-inf")

    async def _refresh(self) -> None:
        if self._clock() - self._read_at < REFRESH_SECONDS:
            return
        self._read_at = self._clock()
        try:
            async with self._database.read() as session:
                rows = await repository.overrides(session)
        except (SQLAlchemyError, OSError) as error:
            # The exceptions that were in force stay so; answers do not wait for a database.
            log.warning("limits_not_read", error=type(error).__name__)
            return
        self._found = {
            (row.kind, row.name): _Exception(
                Rate(row.requests, row.window_seconds)
                if row.requests and row.window_seconds
                else None,
                row.tokens_per_day,
            )
            for row in rows
        }
