"""How often passwords may be tried, so that guessing is slow and the owner still gets in.

A stranger's attempts count for their address, for the account and for the whole house. An address
from which the account has signed in before, or a browser that carries the device cookie of an
earlier login (OWASP's "device cookies"), has a count of its own and is not touched by the others:
whoever floods an account from elsewhere cannot lock its holder out.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from maloca.core.errors import Unavailable
from maloca.server.accounts.address import bucket
from maloca.server.accounts.errors import TooManyAttempts

RETRY_SECONDS: Final = 60
_MINUTES: Final = 5


def _limit(count: int, name: str) -> RateLimitItemPerMinute:
    return RateLimitItemPerMinute(count, _MINUTES, f"login-{name}")


OF_ONE: Final = _limit(10, "one")
OF_ADDRESS: Final = _limit(60, "address")
OF_ACCOUNT: Final = _limit(30, "account")
OF_HOUSE: Final = _limit(1500, "house")
REGISTRATIONS: Final = _limit(60, "register")
_REPORTS: Final = _limit(1, "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Who tries a password, for which account.

    Attributes:
        account: The account's name as it is compared, whether there is one or not.
        address: The client's address.
        device: The id of a device on which the account has signed in before.
        known: Whether the account has signed in from that address before.
    """

    account: str
    address: str
    device: str | None = None
    known: bool = False

    @property
    def own(self) -> tuple[str, str]:
        """The names under which this one's attempts are counted."""
        return (self.account, f"device:{self.device}" if self.device else bucket(self.address))


class LoginThrottle:
    """Counts attempts before a password is looked at, so that many at once do not slip through."""

    def __init__(self, storage: Storage) -> None:
        """Count in that storage, which is shared by all replicas or of this process alone."""
        self._limiter = MovingWindowRateLimiter(storage)

    async def admit(self, attempt: Attempt) -> None:
        """Count an attempt.

        Raises:
            TooManyAttempts: It is one too many.
            Unavailable: The counts cannot be reached; guessing without limit is not an option.
        """
        await self._hit(OF_ONE, *attempt.own)
        if attempt.device or attempt.known:
            return
        await self._hit(OF_ADDRESS, bucket(attempt.address))
        await self._hit(OF_ACCOUNT, attempt.account)
        await self._hit(OF_HOUSE)

    async def admit_registration(self, address: str) -> None:
        """Count a registration from an address.

        Raises:
            TooManyAttempts: It is one too many.
            Unavailable: The counts cannot be reached.
        """
        await self._hit(REGISTRATIONS, bucket(address))

    async def succeeded(self, attempt: Attempt) -> None:
        """Forget the attempts of whoever has given the right password."""
        # Those that stay counted expire; the login itself has been decided.
        with contextlib.suppress(StorageError):
            await self._limiter.clear(OF_ONE, *attempt.own)

    async def is_news(self, attempt: Attempt) -> bool:
        """Return whether a refusal of this one has not been reported lately."""
        with contextlib.suppress(StorageError):
            return await self._limiter.hit(_REPORTS, *attempt.own)
        return False

    async def _hit(self, item: RateLimitItemPerMinute, *names: str) -> None:
        try:
            if await self._limiter.hit(item, *names):
                return
        except StorageError as error:
            raise Unavailable(
                "Sign-in is closed while its limits cannot be counted.",
                hint="Try again in a moment; an administrator should look at Redis.",
            ) from error
        raise TooManyAttempts(
            "Too many attempts to sign in.",
            hint="Wait a few minutes, or sign in from a browser that has signed in before.",
            retry_after=RETRY_SECONDS,
        )
