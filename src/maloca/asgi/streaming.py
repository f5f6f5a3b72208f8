"""Server-sent events, and work that ends when the client goes away.

Headers are not sent before the first piece of the answer: a request that fails until then still
has its status. After that a failure is one error event, and the stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from maloca.asgi.errors import defect, response_for
from maloca.core.errors import ErrorInfo, MalocaError
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Started

KEEP_ALIVE_SECONDS: Final = 15.0
_KEEP_ALIVE: Final = b": keep-alive\n\n"
_CLIENT_CLOSED: Final = 499
ANSWERED_BY: Final = "X-Maloca-Answered-By"
SKIPPED: Final = "X-Maloca-Skipped"

T = TypeVar("T")

log = structlog.get_logger(__name__)


class ClientGone(MalocaError):
    """The client closed the connection; nobody reads this error."""

    status = _CLIENT_CLOSED
    code = "client_closed_request"


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or cancel it when the client goes away.

    Raises:
        ClientGone: The client went away first.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnect(request.receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone("The client closed the connection.")
    finally:
        watcher.cancel()
        task.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


class EventStream(Response):
    """A completion as server-sent events.

    `render` gives an event's bytes (empty to leave it out); `tail` follows a successful end.
    """

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        render: Callable[[Event], bytes],
        *,
        tail: bytes = b"",
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self._events = events
        self._render = render
        self._tail = tail
        self.raw_headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would hold events back.
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; closing the connection cancels the completion."""
        pump = asyncio.ensure_future(self._pump(scope, receive, send))
        watcher = asyncio.ensure_future(_disconnect(receive))
        try:
            await asyncio.wait({pump, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                pump.result()
        finally:
            watcher.cancel()
            pump.cancel()
            await asyncio.gather(pump, watcher, return_exceptions=True)

    async def _pump(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            opening, refusal = await self._open()
            if refusal is not None:
                await response_for(scope["path"], refusal)(scope, receive, send)
                return
            await send(
                {"type": "http.response.start", "status": 200, "headers": self._head(opening)}
            )
            await self._write(send, b"".join(map(self._render, opening)))
            last = opening[-1]
            while not isinstance(last, Done | Cancelled | Failed):
                last = await self._next_or_keep_alive(send)
                await self._write(send, self._render(last))
            if isinstance(last, Done):
                await self._write(send, self._tail)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._events.aclose()

    def _head(self, opening: list[Event]) -> list[tuple[bytes, bytes]]:
        """Return the headers, with who answers."""
        started = opening[0]
        if not isinstance(started, Started):
            return self.raw_headers
        signed = answered_by(started).items()
        more = [(name.lower().encode(), value.encode()) for name, value in signed]
        return [*self.raw_headers, *more]

    async def _open(self) -> tuple[list[Event], ErrorInfo | None]:
        """Return the events up to the first that is worth a 200, or why there is none."""
        opening: list[Event] = []
        try:
            async for event in self._events:
                if isinstance(event, Failed):
                    return [], event.error
                opening.append(event)
                if isinstance(event, Delta | Done | Cancelled):
                    return opening, None
        except MalocaError as error:
            return [], error.info
        return [], _broken()

    async def _next_or_keep_alive(self, send: Send) -> Event:
        """Return the next event, with comments while it takes long."""
        following = asyncio.ensure_future(anext(self._events, None))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=KEEP_ALIVE_SECONDS)
                if done:
                    return following.result() or Failed(_broken())
                await self._write(send, _KEEP_ALIVE)
        except MalocaError as error:
            return Failed(error.info)
        except Exception:
            # The status is out already; the client still gets its one terminal event.
            log.exception("unexpected_error_in_stream")
            return Failed(defect())
        finally:
            # A generator that still runs cannot be closed: wait until it has heard.
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _write(self, send: Send, body: bytes) -> None:
        if body:
            await send({"type": "http.response.body", "body": body, "more_body": True})


def answered_by(started: Started) -> dict[str, str]:
    """Return the headers that say who answers, and why the providers before did not."""
    headers = {ANSWERED_BY: started.answered_by}
    if started.skipped:
        headers[SKIPPED] = ", ".join(f"{s.provider}={s.reason}" for s in started.skipped)
    return headers


def sse(data: bytes, event: str | None = None) -> bytes:
    """Return one server-sent event; `data` is JSON, so it has no line breaks."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _broken() -> ErrorInfo:
    return ErrorInfo(message="The stream ended without a terminal event.", code="stream_broken")
