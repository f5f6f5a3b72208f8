"""How many requests in how much time, and how a caller stands against that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from maloca.core.errors import MalocaError

MAX_REQUESTS: Final = 1_000_000
MAX_WINDOW_SECONDS: Final = 24 * 3600


class RateLimited(MalocaError):
    """The caller asked too often; `retry_after` says when to come back."""

    status = 429
    code = "rate_limited"
    type = "rate_limit_error"


class TokensSpent(MalocaError):
    """The caller's tokens of the day do not suffice for this request."""

    status = 429
    code = "token_budget_spent"
    type = "rate_limit_error"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `window_seconds`."""

    requests: int
    window_seconds: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands after a request.

    Attributes:
        allowed: Whether the request was counted and may go on.
        remaining: Requests that would still be allowed at this moment.
        reset_seconds: Seconds until one more would be.
    """

    rate: Rate
    allowed: bool
    remaining: int
    reset_seconds: float

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers."""
        rate, reset = self.rate, math.ceil(self.reset_seconds)
        return {
            "RateLimit-Policy": f'"requests";q={rate.requests};w={rate.window_seconds}',
            "RateLimit": f'"requests";r={self.remaining};t={reset}',
        }

    def refusal(self) -> RateLimited:
        """Return the error for a request that was not allowed."""
        rate = self.rate
        return RateLimited(
            f"More than {rate.requests} requests in {rate.window_seconds} seconds.",
            hint="Wait as long as Retry-After says, or ask an admin for a higher limit.",
            retry_after=max(1.0, self.reset_seconds),
        )
