"""Identical requests in flight share one piece of work (single-flight)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from maloca.core.budget import Budget

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class Flights(Generic[T]):
    """Work under way, by key.

    The work belongs to all who wait for it: it goes on when the one who began it leaves, and is
    cancelled when the last one does.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def share(
        self, key: str, work: Callable[[], Awaitable[T]], *, budget: Budget | None = None
    ) -> tuple[T, bool]:
        """Return the result, and whether somebody else's work gave it.

        Who joins work that then fails does not fail with it, but tries once more.

        Args:
            key: What makes requests identical.
            work: Does the work; called at most once.
            budget: How long this caller waits.

        Raises:
            BudgetExceeded: The caller's time ran out; the work goes on if others wait for it.
        """
        joined = self._flights.get(key)
        if joined is not None:
            try:
                return await self._wait(key, joined, budget), True
            except Exception:
                if not joined.task.done():
                    raise  # Our own time ran out.
        flight = self._flights.get(key)
        shared = flight is not None
        if flight is None:
            flight = _Flight(asyncio.ensure_future(_run(work)))
            self._flights[key] = flight
        return await self._wait(key, flight, budget), shared

    async def _wait(self, key: str, flight: _Flight[T], budget: Budget | None) -> T:
        flight.waiting += 1
        try:
            seconds = None if budget is None else budget.remaining_seconds
            done, _ = await asyncio.wait({flight.task}, timeout=seconds)
            if not done and budget is not None:
                raise budget.exceeded()
            return flight.task.result()
        finally:
            flight.waiting -= 1
            if flight.task.done() or flight.waiting == 0:
                # Who comes from now on begins anew instead of joining what is over.
                if self._flights.get(key) is flight:
                    del self._flights[key]
                if not flight.task.done():
                    flight.task.cancel()
                    # The slot must be free when the last one has gone.
                    await asyncio.wait({flight.task})
                if not flight.task.cancelled():
                    # Whoever left did not look at how it ended.
                    flight.task.exception()


async def _run(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
