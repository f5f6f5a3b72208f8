"""Stop strings, cut exactly where they begin, across any split of the stream."""

from __future__ import annotations

from collections.abc import Sequence


class StopCutter:
    """Passes text through until a stop string appears; holds back what may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Return the text that is certainly part of the answer.

        Sets `stopped` when a stop string is complete; whatever follows it is dropped.
        """
        if self.stopped or not self._stops:
            return "" if self.stopped else text
        pending = self._held + text
        # The stop that is complete first counts, so that the split of the stream does not matter.
        found = [
            (index + len(stop), index) for stop in self._stops if (index := pending.find(stop)) >= 0
        ]
        if found:
            self.stopped = True
            self._held = ""
            return pending[: min(found)[1]]
        keep = max(_overlap(pending, stop) for stop in self._stops)
        cut = len(pending) - keep
        self._held = pending[cut:]
        return pending[:cut]

    def flush(self) -> str:
        """Return what was held back, once no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
