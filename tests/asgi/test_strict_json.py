from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from tests.asgi.drive import Exchange, call, scope_of

from maloca.asgi.application import new_app
from maloca.asgi.strict_json import StrictRoute
from maloca.core.settings import Settings

LIMIT = 64 * 1024


class Body(BaseModel):
    value: Any = None


def make_app() -> FastAPI:
    router = APIRouter(route_class=StrictRoute)

    @router.post("/echo")
    async def echo(body: Body) -> Body:
        return body

    @router.post("/v1/echo")
    async def openai_echo(body: Body) -> Body:
        return body

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = new_app(
        title="echo",
        description="",
        settings=Settings.load(max_body_bytes=LIMIT),
        registry=CollectorRegistry(),
        lifespan=lifespan,
    )
    app.include_router(router)
    return app


APP = make_app()


async def post(
    *body: bytes, content_type: str | None = "application/json", length: int | None = None
) -> Exchange:
    headers = [("host", "localhost")]
    if content_type is not None:
        headers.append(("content-type", content_type))
    if length is not None:
        headers.append(("content-length", str(length)))
    return await call(APP, scope_of("POST", "/echo", headers), *body)


BAD = {
    "nothing": b"",
    "spaces": b"  ",
    "unfinished": b'{"value": ',
    "two values": b'{"value": 1} {}',
    "a trailing comma": b'{"value": 1,}',
    "single quotes": b"{'value': 1}",
    "NaN": b'{"value": NaN}',
    "Infinity": b'{"value": Infinity}',
    "-Infinity": b'{"value": -Infinity}',
    "1e999": b'{"value": 1e999}',
    "-1e999": b'{"value": -1e999}',
    "a lone high surrogate": b'{"value": "\\ud800"}',
    "a lone low surrogate": b'{"value": "x\\udc00y"}',
    "swapped surrogates": b'{"value": "\\udc00\\ud800"}',
    "a surrogate in UTF-8": b'{"value": "\xed\xa0\x80"}',
    "invalid UTF-8": b'{"value": "\xff"}',
    "overlong UTF-8": b'{"value": "\xc0\x80"}',
    "a raw line break": b'{"value": "a\nb"}',
    "UTF-16": '{"value": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"value": 1}',
    "1,000 deep": b'{"value": ' * 1000 + b"1" + b"}" * 1000,
    "30,000 deep": b"[" * 30_000 + b"]" * 30_000,
    "30,000 deep, never closed": b"[" * 30_000,
    "a control character in a key": b'{"val\x01ue": 1}',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
async def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    exchange = await post(body)
    assert exchange.status == 422
    assert exchange.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"x"', b"true"])
async def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    exchange = await post(body)
    assert (exchange.status, exchange.error["code"]) == (422, "invalid_request")


async def test_openai_paths_say_400_where_others_say_422() -> None:
    exchange = await call(APP, scope_of("POST", "/v1/echo"), b"{")
    assert (exchange.status, exchange.error["code"]) == (400, "invalid_json")


async def test_of_two_equal_keys_the_last_one_counts() -> None:
    assert (await post(b'{"value": 1, "value": 2}')).body == b'{"value":2}'


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/problem+json",
        "application/x-www-form-urlencoded",
    ],
)
async def test_a_plain_curl_works_too(content_type: str | None) -> None:
    exchange = await post('{"value": "ɨ"}'.encode(), content_type=content_type)
    assert (exchange.status, exchange.body) == (200, '{"value":"ɨ"}'.encode())


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "x", ""])
async def test_other_content_types_are_refused(content_type: str) -> None:
    """A page of a stranger can send these without asking first."""
    exchange = await post(b'{"value": 1}', content_type=content_type)
    assert exchange.status == 422
    assert exchange.error["type"] == "invalid_request_error"


async def test_a_declared_body_over_the_limit_is_refused_unread() -> None:
    exchange = await post(b"{}", length=LIMIT + 1)
    assert (exchange.status, exchange.error["code"]) == (413, "body_too_large")
    assert "MALOCA_MAX_BODY_BYTES" in exchange.error["hint"]


@pytest.mark.parametrize("declared", [None, 10])
async def test_a_body_that_grows_over_the_limit_is_refused(declared: int | None) -> None:
    parts = [b'{"value": "', *[b"x" * 1024] * 70, b'"}']
    exchange = await post(*parts, length=declared)
    assert (exchange.status, exchange.error["code"]) == (413, "body_too_large")


async def test_a_body_of_the_limit_passes() -> None:
    body = b'{"value": "' + b"x" * (LIMIT - 13) + b'"}'
    assert len(body) == LIMIT
    assert (await post(body[:100], body[100:], length=LIMIT)).status == 200


async def test_a_body_in_pieces_is_put_together() -> None:
    parts = [bytes([byte]) for byte in '{"value": "ɨ🔥"}'.encode()]
    assert (await post(*parts)).body == '{"value":"ɨ🔥"}'.encode()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/echo", 405, "method_not_allowed"),
        ("DELETE", "/echo", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/" + "x" * 5000, 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/docs/../errors.py", 404, "not_found"),
    ],
)
async def test_wrong_paths_and_methods_have_the_error_shape(
    method: str, path: str, status: int, code: str
) -> None:
    exchange = await call(APP, scope_of(method, path))
    assert (exchange.status, exchange.error["code"]) == (status, code)
    assert len(exchange.error["message"]) < 500
    if status == 405:
        assert exchange.headers["allow"] == "POST"
