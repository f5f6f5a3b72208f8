"""Tokens that a caller may use in a day: reserved before, settled after, refunded on failure.

A reservation is one UPDATE that only succeeds while it fits under the cap, so any number of
workers and replicas may ask at once. A process that is killed in between leaves its estimates
charged until the day (of UTC) ends: a budget errs on its owner's side.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from maloca.core.completer import CompletionRequest
from maloca.core.errors import Unavailable
from maloca.server.db.base import now
from maloca.server.db.database import Database
from maloca.server.limits import repository
from maloca.server.limits.rates import TokensSpent

# Tokens that an answer without a limit of its own is expected to have.
OPEN_ANSWER: Final = 1024
_CHARACTERS_PER_TOKEN: Final = 3
_TOKENS_PER_MESSAGE: Final = 8
_KEPT_DAYS: Final = 8

log = structlog.get_logger(__name__)


def estimate(request: CompletionRequest) -> int:
    """Return about how many tokens a request will read and write, rather more than fewer."""
    read = sum(
        len(message.content) // _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE
        for message in request.messages
    )
    return read + (request.sampling.max_new_tokens or OPEN_ANSWER)


@dataclass(slots=True)
class Reservation:
    """Tokens set aside for one request; settle it exactly once."""

    tenant: str
    day: dt.date
    tokens: int


class TokenBudgets:
    """Sets tokens aside, and takes back what was not used."""

    def __init__(self, database: Database, *, today: Callable[[], dt.date] | None = None) -> None:
        self._database = database
        self._today = today or (lambda: now().date())
        self._swept: dt.date | None = None

    async def reserve(self, tenant: str, tokens: int, *, cap: int) -> Reservation:
        """Set tokens aside.

        Raises:
            TokensSpent: They do not fit into what is left of the day.
            Unavailable: The database does not answer; a budget fails closed.
        """
        day = self._today()
        try:
            async with self._database.write() as session:
                if day != self._swept:
                    oldest = day - dt.timedelta(days=_KEPT_DAYS)
                    await repository.forget_days_before(session, oldest)
                fits = await repository.reserve(session, tenant, day, tokens, cap=cap)
                left = 0 if fits else cap - await repository.spent(session, tenant, day)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(
                "The database does not answer, so nobody knows what is left of today's tokens.",
                code="budget_unavailable",
                hint="Try again in a moment.",
                retry_after=2.0,
            ) from error
        self._swept = day
        if not fits:
            raise TokensSpent(
                f"This request may need {tokens} tokens, and {max(0, left)} of today's {cap} "
                "are left.",
                hint="Ask for fewer tokens, come back after midnight UTC, or ask an admin.",
                retry_after=_until_tomorrow(),
            )
        return Reservation(tenant, day, tokens)

    async def settle(self, reservation: Reservation, used: int) -> None:
        """Charge what was used instead of what was set aside; 0 is a refund."""
        difference = used - reservation.tokens
        if difference == 0:
            return
        try:
            async with self._database.write() as session:
                await repository.add_spent(session, reservation.tenant, reservation.day, difference)
        except (SQLAlchemyError, OSError) as error:
            # The answer is out; the estimate stays charged.
            log.warning("tokens_not_settled", error=type(error).__name__, tokens=difference)


def _until_tomorrow() -> float:
    present = now()
    midnight = (present + dt.timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - present).total_seconds()
