"""Response headers that routes decide on before they know their response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEY: Final = "late_headers"


def add_headers(scope: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Send these headers with the response of a request, whatever it will be."""
    scope["state"].setdefault(_KEY, {}).update(headers)


class LateHeaders:
    """Middleware that adds them: streams and errors make responses of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; its response leaves with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(scope.get("state", {}).get(_KEY, {}))
            await send(message)

        await self._app(scope, receive, with_headers)
