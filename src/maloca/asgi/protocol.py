"""uvicorn's HTTP protocol with bounds on the head of a request."""

from __future__ import annotations

import asyncio
import http
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from maloca.core.errors import ErrorInfo

HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 30.0
_SEPARATORS: Final = len(b": \r\n")


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request whose line and headers are too large or take too long.

    httptools bounds neither, so one connection could hold memory or a slot for ever. Requests
    that are not HTTP are answered in the services' own error shape.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Give the first request's head its time."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer together with the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; those of an unfinished head count even before they make a header."""
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Start to count a request's head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._start_timer()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, or one trailer of a chunked body."""
        self._count(len(name) + len(value) + _SEPARATORS)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be a request, and close the connection."""
        if self._head_bytes > HEAD_BYTES:
            self._refuse(431, "headers_too_large", f"The headers are over {HEAD_BYTES} bytes.")
        else:
            self._refuse(400, "invalid_http", msg)

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > HEAD_BYTES:
            # The parser turns this into the error that ends in `send_400_response`.
            raise ValueError("head too large")

    def _start_timer(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_timeout(self) -> None:
        if not self.transport.is_closing():
            self._refuse(
                408, "request_timeout", f"The headers took more than {HEAD_SECONDS:.0f} seconds."
            )

    def _refuse(self, status: int, code: str, message: str) -> None:
        error = ErrorInfo(message=message, type="invalid_request_error", code=code, status=status)
        fields = ("message", "type", "code", "param", "hint")
        body = msgspec.json.encode({"error": {name: getattr(error, name) for name in fields}})
        head = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
