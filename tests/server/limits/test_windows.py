"""The limiter in memory against a model of it: no window ever holds more than it may."""

from __future__ import annotations

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from maloca.server.limits import windows
from maloca.server.limits.limiter import RequestLimiter
from maloca.server.limits.rates import Rate

CALLERS = st.sampled_from(["ana", "luis"])


class Limiter(RuleBasedStateMachine):
    """Callers who come whenever they like, and a clock that only this test moves."""

    @initialize(requests=st.integers(1, 5), window=st.integers(1, 10))
    def begin(self, requests: int, window: int) -> None:
        self.now = 1000.0
        self.rate = Rate(requests, window)
        self.limiter = RequestLimiter(clock=lambda: self.now)
        self.counted: dict[str, list[float]] = {}

    @rule(caller=CALLERS)
    def ask(self, caller: str) -> None:
        counted = self.counted.setdefault(caller, [])
        current = [at for at in counted if at > self.now - self.rate.window_seconds]
        standing = asyncio.run(self.limiter.hit(self.rate, caller))
        assert standing.allowed == (len(current) < self.rate.requests)
        if standing.allowed:
            counted.append(self.now)
            current.append(self.now)
        assert standing.remaining == self.rate.requests - len(current)
        # Who waits that long is let in again, and nobody waits longer than a window.
        assert standing.reset_seconds == current[0] + self.rate.window_seconds - self.now
        assert 0 < standing.reset_seconds <= self.rate.window_seconds

    @rule(seconds=st.integers(0, 40).map(lambda quarters: quarters / 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def no_window_is_too_full(self) -> None:
        for counted in getattr(self, "counted", {}).values():
            for start in counted:
                within = [at for at in counted if start <= at < start + self.rate.window_seconds]
                assert len(within) <= self.rate.requests


TestLimiter = Limiter.TestCase
TestLimiter.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


async def test_those_who_went_away_are_forgotten() -> None:
    now = 0.0
    storage = windows.MemoryWindows(lambda: now)
    for number in range(3000):
        now += 1
        assert await storage.acquire_entry(f"caller {number}", 10, 60)
    assert await storage.reset() < 1200
