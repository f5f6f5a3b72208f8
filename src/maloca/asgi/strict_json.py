"""JSON bodies read strictly: no NaN, no lone surrogates, no depth that ends the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maloca.asgi.errors import response_for
from maloca.core.errors import BodyTooLarge, InvalidRequest

_FORM: Final = "application/x-www-form-urlencoded"


class StrictRequest(Request):
    """A request whose JSON body is decoded by msgspec."""

    async def json(self) -> Any:
        """Return the decoded body.

        Raises:
            InvalidRequest: It is not strict JSON in UTF-8, or is nested too deeply.
        """
        body = await self.body()
        try:
            return msgspec.json.decode(body)
        except RecursionError:
            raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidRequest(
                f"The body is not valid JSON: {error}.", code="invalid_json"
            ) from None


class StrictRoute(APIRoute):
    """Reads bodies as strict JSON, also when a plain `curl -d` calls them a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that FastAPI builds, with the stricter request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            headers = MutableHeaders(scope=request.scope)
            if headers.get("content-type", _FORM).startswith(_FORM):
                headers["content-type"] = "application/json"
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


class BodyLimit:
    """Middleware that refuses a body over the limit, declared or not, without keeping it."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on until its body grows over the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await response_for(scope["path"], self._error().info)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise self._error()
            return message

        await self._app(scope, counted, send)

    def _error(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is over the limit of {self._limit} bytes.",
            hint="Send less, or raise MALOCA_MAX_BODY_BYTES.",
        )
