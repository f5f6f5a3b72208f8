"""How a pull says what it is doing."""

from __future__ import annotations

from typing import Literal, Protocol

Phase = Literal[
    "waiting", "resolving", "downloading", "verifying", "extracting", "converting", "installed"
]


class Progress(Protocol):
    """Called often; whatever it raises stops the pull, which can be resumed later."""

    def __call__(self, phase: Phase, done: int, total: int) -> None:
        """Take note of `done` of `total` bytes; both are 0 in a phase without a measure."""
        ...


def silent(phase: Phase, done: int, total: int) -> None:
    """Say nothing."""
