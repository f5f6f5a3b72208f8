"""Counts requests in moving windows: in memory, or in Redis for several processes together.

When Redis does not answer, nobody is refused because of that: each process counts by itself until
Redis is back, says so in the log, and counts the failures in `/metrics`. Redis is asked again
after `RETRY_SECONDS`, so that an outage costs one request its patience and not all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from prometheus_client import Counter

from maloca.server.limits.rates import Rate, Standing
from maloca.server.limits.shared_windows import connect, shared_windows
from maloca.server.limits.windows import MemoryWindows

RETRY_SECONDS: Final = 2.0
_NAMESPACE: Final = "maloca"

log = structlog.get_logger(__name__)


class RequestLimiter:
    """Decides whether one more request of a caller fits its rate."""

    def __init__(
        self,
        *,
        redis_url: str | None = None,
        failures: Counter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect lazily.

        Args:
            redis_url: redis://… or rediss://…; None counts in this process.
            failures: Counts the times that Redis did not answer.
            clock: Monotonic seconds, for tests.

        Raises:
            BadSetting: The URL cannot be used, or the Redis client is not installed.
        """
        self._clock = clock
        self._failures = failures
        self._local = MovingWindowRateLimiter(MemoryWindows(clock))
        self._pool = connect(redis_url) if redis_url else None
        self._shared = MovingWindowRateLimiter(shared_windows(self._pool)) if self._pool else None
        self._retry_at = 0.0

    async def hit(self, rate: Rate, *names: str) -> Standing:
        """Count one request under these names, if it fits."""
        item = RateLimitItemPerSecond(rate.requests, rate.window_seconds, _NAMESPACE)
        if self._shared is not None and self._clock() >= self._retry_at:
            try:
                return await self._ask(self._shared, time.time, rate, item, names)
            except StorageError as error:
                self._retry_at = self._clock() + RETRY_SECONDS
                if self._failures is not None:
                    self._failures.inc()
                log.warning("redis_unreachable", effect="each process counts", error=str(error))
        return await self._ask(self._local, self._clock, rate, item, names)

    async def _ask(
        self,
        limiter: MovingWindowRateLimiter,
        clock: Callable[[], float],
        rate: Rate,
        item: RateLimitItemPerSecond,
        names: tuple[str, ...],
    ) -> Standing:
        allowed = await limiter.hit(item, *names)
        stats = await limiter.get_window_stats(item, *names)
        return Standing(
            rate=rate,
            allowed=allowed,
            remaining=max(0, stats.remaining),
            reset_seconds=min(max(0.0, stats.reset_time - clock()), rate.window_seconds),
        )

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.disconnect()
