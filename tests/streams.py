"""Streams of events that a test writes, and that know whether they were closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from maloca.core.events import Done, Event, Started, Timings, Usage

STARTED: Final = Started(id="1", model="fake", created=1, prompt_tokens=3)
USAGE: Final = Usage(prompt_tokens=3, completion_tokens=2)
DONE: Final = Done(
    finish_reason="stop", timings=Timings(queue_ms=0, ttft_ms=1, total_ms=2, tokens_per_second=3)
)
HANG: Final = "hang"


class Source:
    """A stream that says what it is told: events, errors, or nothing more."""

    def __init__(self, *script: Event | Exception | str) -> None:
        self._script = script
        self.closed = False

    async def events(self) -> AsyncGenerator[Event, None]:
        try:
            for line in self._script:
                if isinstance(line, Exception):
                    raise line
                if isinstance(line, str):
                    await asyncio.Event().wait()
                else:
                    yield line
        finally:
            # A release that takes a moment must be waited for too.
            await asyncio.sleep(0)
            self.closed = True
