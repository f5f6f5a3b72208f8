"""One id per request, in every log line, header and hop; and a count of what was answered."""

from __future__ import annotations

import time
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maloca.asgi.errors import unexpected
from maloca.core.ids import accept_id

REQUEST_ID: Final = "X-Request-Id"
BUDGET_MS: Final = "X-Maloca-Budget-Ms"

log = structlog.get_logger(__name__)


class HttpMetrics:
    """Requests by route and status, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["method", "route", "status"]
        self.requests = Counter("maloca_http_requests", "HTTP requests.", labels, registry=registry)
        self.seconds = Histogram(
            "maloca_http_seconds", "Time to the end of the response.", ["route"], registry=registry
        )


class RequestContext:
    """Middleware that sets `scope["state"]["request_id"]`, answers with it, and counts."""

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = accept_id(Headers(scope=scope).get(REQUEST_ID))
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = 500, False
        began = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                log.exception("unexpected_error", path=scope["path"])
                if started:
                    raise
                await unexpected(scope["path"])(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - began
                route = getattr(scope.get("route"), "path", "(none)")
                self._metrics.requests.labels(scope["method"], route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(seconds)
                log.debug(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    ms=round(seconds * 1000, 1),
                )
