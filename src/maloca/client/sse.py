"""Reads server-sent events (WHATWG HTML, section 9.2) from chunks of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

MAX_EVENT: Final = 16 * 1024 * 1024


class EventTooLarge(ValueError):
    """An event grew over the limit without an end."""


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the data of each event; comments, names and an unfinished last event are left out.

    Raises:
        EventTooLarge: An event is over `MAX_EVENT` bytes.
    """
    pending = b""
    async for chunk in chunks:
        pending += chunk
        *whole, pending = pending.replace(b"\r\n", b"\n").split(b"\n\n")
        for block in whole:
            lines = [line for line in block.split(b"\n") if line.startswith(b"data:")]
            if lines:
                yield b"\n".join(line[5:].removeprefix(b" ") for line in lines)
        if len(pending) > MAX_EVENT:
            raise EventTooLarge(f"an event is over {MAX_EVENT} bytes")
