"""Who may speak to a service: plain ASGI middleware around everything it serves.

A page of a stranger, open in the user's browser, can reach loopback, and with DNS rebinding even
under its own name. So the Host must be one of ours, and a request that carries an Origin must
carry the same one, or one that the owner has allowed.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from maloca.asgi.errors import response_for
from maloca.core.errors import ErrorInfo, Forbidden, MalocaError
from maloca.core.settings import is_loopback

_OPEN_PATHS: Final = frozenset({"/health", "/health/live", "/health/ready"})


class NeedsToken(MalocaError):
    """The bearer token is missing or wrong."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class Guard:
    """Checks Host, Origin and, where one is set, the bearer token."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Sequence[str],
        allowed_origins: Sequence[str] = (),
        token: SecretStr | None = None,
    ) -> None:
        self._app = app
        self._origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        self._hosts = frozenset(host.lower() for host in allowed_hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] in {"http", "websocket"}:
            refusal = self._judge(scope)
            if refusal is not None:
                await _refuse(scope, receive, send, refusal)
                return
        await self._app(scope, receive, send)

    def _judge(self, scope: Scope) -> ErrorInfo | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._knows(host):
            return Forbidden(
                f"Host {host[:100]!r} is not served here.",
                code="host_not_allowed",
                hint="Use localhost, or add the name to MALOCA_ALLOWED_HOSTS.",
            ).info
        origin = headers.get("origin")
        if origin is not None and not self._allows(origin, host):
            return Forbidden(
                f"Pages of {origin[:100]} may not use this service.",
                code="origin_not_allowed",
                hint="Open the service's own page, or call it from a program.",
            ).info
        return (
            None
            if self._has_token(scope, headers)
            else NeedsToken("A bearer token is needed.", hint="Send Authorization: Bearer …").info
        )

    def _knows(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name in self._hosts

    def _allows(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin.lower() in self._origins:
            return True
        return self._same_origin(origin, host)

    def _same_origin(self, origin: str, host: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        if self._token is None or scope["path"] in _OPEN_PATHS:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        wanted = self._token.get_secret_value().encode()
        # Headers were decoded as Latin-1; these are the bytes that the client sent.
        sent = given.strip().encode("latin-1")
        return scheme.lower() == "bearer" and hmac.compare_digest(sent, wanted)


async def _refuse(scope: Scope, receive: Receive, send: Send, info: ErrorInfo) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": info.code})
        return
    await response_for(scope["path"], info)(scope, receive, send)
