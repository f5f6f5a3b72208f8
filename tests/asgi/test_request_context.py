from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs
from tests.asgi.drive import Exchange, call, scope_of

from maloca.asgi.headers import SecurityHeaders
from maloca.asgi.request_context import HttpMetrics, RequestContext


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the request's id."""
    await receive()
    body = scope["state"]["request_id"].encode()
    kind = scope["path"].strip("/").encode() or b"text/plain"
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("secret detail")


async def broken_late(scope: Scope, receive: Receive, send: Send) -> None:
    await echo(scope, receive, send)
    raise RuntimeError("secret detail")


def sample(registry: CollectorRegistry, status: str) -> float | None:
    labels = {"method": "GET", "route": "(none)", "status": status}
    return registry.get_sample_value("maloca_http_requests_total", labels)


async def ask(app: ASGIApp, *headers: tuple[str, str]) -> tuple[Exchange, CollectorRegistry]:
    registry = CollectorRegistry()
    context = RequestContext(app, metrics=HttpMetrics(registry))
    return await call(context, scope_of(headers=headers)), registry


async def test_the_callers_id_is_kept_everywhere() -> None:
    exchange, registry = await ask(echo, ("x-request-id", "trace-42"))
    assert exchange.headers["x-request-id"] == "trace-42"
    assert exchange.body == b"trace-42"
    assert sample(registry, "201") == 1


@pytest.mark.parametrize("given", ["a b", "x" * 65, "", "<b>", "ñ"])
async def test_an_unsafe_id_is_replaced(given: str) -> None:
    exchange, _ = await ask(echo, ("x-request-id", given))
    assert re.fullmatch(b"[0-9a-f]{24}", exchange.body)
    assert exchange.headers["x-request-id"] == exchange.body.decode()


async def test_a_defect_is_a_500_in_the_error_shape_and_a_line_in_the_log() -> None:
    with capture_logs() as logs:
        exchange, registry = await ask(broken, ("x-request-id", "trace-42"))
    assert exchange.status == 500
    assert exchange.error["code"] == "internal_error"
    assert b"secret" not in exchange.body
    assert exchange.headers["x-request-id"] == "trace-42"
    assert sample(registry, "500") == 1
    [line] = [line for line in logs if line["event"] == "unexpected_error"]
    assert line["log_level"] == "error"


async def test_a_defect_after_the_response_began_reaches_the_service() -> None:
    with capture_logs(), pytest.raises(RuntimeError, match="secret detail"):
        await ask(broken_late)


@pytest.mark.parametrize(("kind", "page"), [("text/html", True), ("application/json", False)])
async def test_every_response_is_guarded_and_pages_have_a_policy(kind: str, page: bool) -> None:
    context = RequestContext(SecurityHeaders(echo), metrics=HttpMetrics(CollectorRegistry()))
    exchange = await call(context, scope_of(path=f"/{kind}"))
    assert exchange.headers["x-content-type-options"] == "nosniff"
    assert exchange.headers["referrer-policy"] == "no-referrer"
    assert exchange.headers["cross-origin-resource-policy"] == "same-origin"
    policy = exchange.headers.get("content-security-policy")
    assert (policy is not None) is page
    if policy is not None:
        assert "default-src 'self'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
