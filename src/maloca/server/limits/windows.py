"""Moving windows in this process's memory, as a storage of the `limits` package.

That package's own memory storage visits every key in a thread of its own after each request;
here an entry is removed when its key is next asked for, or when its turn in a slow sweep comes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from limits.aio.storage import MovingWindowSupport, Storage

_SWEEP_EVERY: Final = 1024


@dataclass(slots=True)
class _Window:
    """Times of the requests that still count, oldest first."""

    expiry: int
    times: deque[float] = field(default_factory=deque)

    def forget_before(self, now: float) -> None:
        while self.times and self.times[0] <= now - self.expiry:
            self.times.popleft()


class MemoryWindows(Storage, MovingWindowSupport):
    """Exact moving windows; never awaits, so that each call is atomic on its event loop."""

    STORAGE_SCHEME = ["async+maloca-memory"]  # noqa: RUF012 - the package's own form

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._calls = 0

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """Return nothing: memory does not fail."""
        return ()

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests if they fit into the window."""
        self._sweep()
        window = self._window(key, expiry)
        if len(window.times) + amount > limit:
            return False
        self._windows[key] = window
        window.times.extend([self._clock()] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest request that counts, and how many do."""
        del limit
        window = self._window(key, expiry)
        return (window.times[0] if window.times else self._clock() - expiry), len(window.times)

    def _window(self, key: str, expiry: int) -> _Window:
        window = self._windows.get(key) or _Window(expiry)
        window.forget_before(self._clock())
        return window

    def _sweep(self) -> None:
        """Forget the keys of callers who went away, once in a while."""
        self._calls += 1
        if self._calls % _SWEEP_EVERY:
            return
        now = self._clock()
        for key, window in list(self._windows.items()):
            window.forget_before(now)
            if not window.times:
                del self._windows[key]

    async def get(self, key: str) -> int:
        """Return how many requests of a key count."""
        window = self._windows.get(key)
        return len(window.times) if window else 0

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count requests without a limit."""
        window = self._windows[key] = self._window(key, expiry)
        window.times.extend([self._clock()] * amount)
        return len(window.times)

    async def get_expiry(self, key: str) -> float:
        """Return the time at which a key's last request stops counting."""
        window = self._windows.get(key)
        return window.times[-1] + window.expiry if window and window.times else self._clock()

    async def check(self) -> bool:
        """Return True: memory is always there."""
        return True

    async def reset(self) -> int:
        """Forget everything."""
        count = len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget one key."""
        self._windows.pop(key, None)
