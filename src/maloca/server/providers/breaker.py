"""When a provider is not asked: after failures in a row, a rate limit, or a refused key.

A circuit breaker as M. Nygard describes it ("Release It!", 2007): closed, open for a while, then
half-open for a single probe.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from maloca.core.errors import ErrorInfo
from maloca.server.providers.base import KeyRefused

BreakerState = Literal["closed", "open", "half-open", "cooling", "disabled"]

FAILURES_TO_OPEN: Final = 3
OPEN_SECONDS: Final = 10.0
COOLDOWN_SECONDS: Final = 5.0
MAX_COOLDOWN_SECONDS: Final = 3600.0
_TOO_MANY_REQUESTS: Final = 429


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a provider is not asked now, and the error that led to it."""

    reason: str
    error: ErrorInfo


class Breaker:
    """Remembers how one provider fared; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        failures_to_open: int = FAILURES_TO_OPEN,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._open_seconds = open_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._probe: Pass | None = None
        self._cool_until = 0.0
        self._refused_key: str | None = None
        self.last_error: ErrorInfo | None = None

    def state(self, secret: str | None = None) -> BreakerState:
        """Return how it stands; `secret` is the key in force."""
        if self._refused_key is not None and self._refused_key == _fingerprint(secret):
            return "disabled"
        now = self._clock()
        if now < self._cool_until:
            return "cooling"
        if self._opened_at is None:
            return "closed"
        return "open" if now - self._opened_at < self._open_seconds else "half-open"

    def admit(self, secret: str | None = None) -> Pass | Refusal:
        """Let one request through, or say why not; a half-open breaker admits a single probe."""
        match self.state(secret):
            case "disabled":
                return self._refusal("key_refused", None)
            case "cooling":
                return self._refusal("cooling_down", self._cool_until - self._clock())
            case "open":
                left = (self._opened_at or 0.0) + self._open_seconds - self._clock()
                return self._refusal("breaker_open", left)
            case "half-open":
                if self._probe is not None:
                    return self._refusal("breaker_open", 1.0)
                self._probe = Pass(self, secret)
                return self._probe
        return Pass(self, secret)

    def force(self, secret: str | None = None) -> Pass:
        """Let one request through, however the breaker stands."""
        return Pass(self, secret)

    def _began(self, holder: Pass) -> None:
        self._release(holder)
        if self._opened_at is not None:
            self._opened_at = None
            # One more failure, such as a stream that breaks off, opens it again.
            self._failures = self._failures_to_open - 1

    def _finished(self, holder: Pass) -> None:
        self._began(holder)
        self._failures = 0

    def _failed(self, holder: Pass, error: ErrorInfo) -> None:
        self._release(holder)
        self.last_error = error
        if error.code == KeyRefused.code:
            self._refused_key = _fingerprint(holder.secret)
        elif error.status == _TOO_MANY_REQUESTS:
            wanted = COOLDOWN_SECONDS if error.retry_after is None else error.retry_after
            self._cool_until = self._clock() + min(wanted, MAX_COOLDOWN_SECONDS)
        else:
            self._failures += 1
            was_open = (
                self._opened_at is not None and self._clock() - self._opened_at < self._open_seconds
            )
            # Requests that were under way when it opened do not keep it open for longer.
            if not was_open and (
                self._opened_at is not None or self._failures >= self._failures_to_open
            ):
                self._opened_at = self._clock()

    def _release(self, holder: Pass) -> None:
        if self._probe is holder:
            self._probe = None

    def _refusal(self, reason: str, retry_after: float | None) -> Refusal:
        error = self.last_error or ErrorInfo(message="The provider failed before.", status=503)
        return Refusal(reason, msgspec.structs.replace(error, retry_after=retry_after))


class Pass:
    """The right to ask a provider once. `began` may be told; one of the others must be."""

    def __init__(self, breaker: Breaker, secret: str | None) -> None:
        self._breaker = breaker
        self.secret = secret

    def began(self) -> None:
        """Note that the provider speaks, so that others may ask it again."""
        self._breaker._began(self)  # noqa: SLF001 - a pass is a part of its breaker

    def finished(self) -> None:
        """Note an answer that is whole, or a refusal that shows that the provider is well."""
        self._breaker._finished(self)  # noqa: SLF001 - see above

    def failed(self, error: ErrorInfo) -> None:
        """Note a failure; a rate limit only cools down, a refused key disables."""
        self._breaker._failed(self, error)  # noqa: SLF001 - see above

    def abandoned(self) -> None:
        """Note that the request ended without showing how the provider is."""
        self._breaker._release(self)  # noqa: SLF001 - see above


def _fingerprint(secret: str | None) -> str:
    """Return what tells one key from another without being one."""
    return hashlib.sha256((secret or "").encode()).hexdigest()
