"""Time that a request may take, end to end.

A budget travels between services as remaining milliseconds, never as a wall-clock time:
two machines need not agree on what time it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from maloca.core.errors import BudgetExceeded


@dataclass(frozen=True, slots=True)
class Budget:
    """A deadline on this process's monotonic clock, in seconds."""

    deadline: float

    @classmethod
    def of_ms(cls, milliseconds: float) -> Budget:
        """Start a budget of that many milliseconds now."""
        return cls(time.monotonic() + milliseconds / 1000)

    @property
    def remaining_seconds(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def remaining_ms(self) -> int:
        """Milliseconds left, never below 0."""
        return int(self.remaining_seconds * 1000)

    def exceeded(self) -> BudgetExceeded:
        """Return the error for a request whose time ran out."""
        return BudgetExceeded(
            "The time allowed for this request ran out.",
            hint="Allow more with X-Maloca-Budget-Ms, or ask for fewer tokens.",
        )
