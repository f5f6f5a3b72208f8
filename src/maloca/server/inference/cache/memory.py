"""The least recently used answers give way when memory is full."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from maloca.core.completer import Completion


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Completion
    size: int
    expires: float


class MemoryCache:
    """Answers in this process, bounded by bytes and by age; `clock` is monotonic, in seconds."""

    def __init__(self, *, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Completion | None:
        """Return an answer that is still good, and mark it as used."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def put(self, key: str, answer: Completion, *, size: int, seconds: float) -> None:
        """Keep an answer for some seconds; one that is larger than all memory is not kept."""
        self._drop(key)
        if size > self._max_bytes or seconds <= 0:
            return
        self._entries[key] = _Entry(answer, size, self._clock() + seconds)
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size
