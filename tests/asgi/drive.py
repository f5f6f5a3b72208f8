"""Calls an ASGI app in this process, message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Scope


def scope_of(
    method: str = "GET",
    path: str = "/",
    headers: Sequence[tuple[str, str]] = (("host", "localhost"),),
    **more: Any,
) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    } | more


@dataclass
class Exchange:
    """What an app sent; the client stays until it is told to leave."""

    sent: list[Message] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.more.set()

    def receive(self, *body: bytes) -> Callable[[], Awaitable[Message]]:
        parts = [*body] or [b""]
        messages = [
            {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
            for index, part in enumerate(parts)
        ]

        async def receive() -> Message:
            if messages:
                return messages.pop(0)
            await self.left.wait()
            return {"type": "http.disconnect"}

        return receive

    async def until(self, seen: Callable[[Exchange], bool]) -> None:
        """Wait until the app has sent that much."""
        while not seen(self):
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), 10)

    @property
    def status(self) -> int | None:
        return next((m["status"] for m in self.sent if m["type"] == "http.response.start"), None)

    @property
    def headers(self) -> dict[str, str]:
        [start] = [m for m in self.sent if m["type"] == "http.response.start"]
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.sent if m["type"] == "http.response.body")

    @property
    def error(self) -> dict[str, Any]:
        """Return the error of a response that has exactly the shape of one."""
        answer = json.loads(self.body)
        assert list(answer) == ["error"]
        assert list(answer["error"]) == ["message", "type", "code", "param", "hint"]
        error: dict[str, Any] = answer["error"]
        return error


async def call(app: ASGIApp, scope: Scope | None = None, *body: bytes) -> Exchange:
    """Send one request and return the whole response."""
    exchange = Exchange()
    await app(scope or scope_of(), exchange.receive(*body), exchange.send)
    return exchange
