"""A job's events as server-sent events: those there are, then those to come, until the last."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from maloca.asgi.streaming import ClientGone, sse, until_disconnect
from maloca.server.db.database import Database
from maloca.server.jobs import service
from maloca.server.jobs.models import TERMINAL, JobEvent

POLL_SECONDS: Final = 0.5
_KEEP_ALIVE_SECONDS: Final = 15.0
# Then the client comes back, with the last id that it saw, and has to prove again who it is.
_LONGEST_SECONDS: Final = 300.0
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class JobEventStream(Response):
    """The events of one job after a sequence number; ids are the sequence numbers.

    The job process is another one, so the database is asked again and again. The stream ends
    after the terminal event, and without one when the server drains or after five minutes: the
    client then asks again with `Last-Event-ID`, as browsers do by themselves.
    """

    def __init__(
        self, database: Database, job_id: str, after: int, *, draining: Callable[[], bool]
    ) -> None:
        super().__init__(media_type="text/event-stream", headers=_HEADERS)
        self._database = database
        self._job_id = job_id
        self._last = after
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until its end or until the client goes away."""
        with contextlib.suppress(ClientGone):
            await until_disconnect(Request(scope, receive), self._pump(send))

    async def _pump(self, send: Send) -> None:
        headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        began = spoke = time.monotonic()
        is_over = False
        while not is_over and not self._draining() and time.monotonic() - began < _LONGEST_SECONDS:
            events = await self._new_events()
            if events:
                body = b"".join(map(_render, events))
                self._last = events[-1].sequence
                is_over = events[-1].type in TERMINAL
            elif time.monotonic() - spoke >= _KEEP_ALIVE_SECONDS:
                if not await self._still_there():
                    break
                body = b": keep-alive\n\n"
            else:
                await asyncio.sleep(POLL_SECONDS)
                continue
            await send({"type": "http.response.body", "body": body, "more_body": True})
            spoke = time.monotonic()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _new_events(self) -> list[JobEvent]:
        async with self._database.read() as session:
            return list(await service.events_after(session, self._job_id, self._last))

    async def _still_there(self) -> bool:
        """Tell whether the job exists; it goes with its owner."""
        async with self._database.read() as session:
            return await service.exists(session, self._job_id)


def _render(event: JobEvent) -> bytes:
    data = {"type": event.type, "at": event.created_at, **event.data}
    return f"id: {event.sequence}\n".encode() + sse(msgspec.json.encode(data), event.type)
