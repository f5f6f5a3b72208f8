"""Errors as HTTP responses, in the shape that the path's dialect speaks.

The plain shape is `{"error": {"message", "type", "code", "param", "hint"}}`. OpenAI's clients read
the same object, so both share it; statuses differ where OpenAI's own API differs.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from maloca.core.errors import (
    ErrorInfo,
    InvalidRequest,
    MalocaError,
    NotFound,
)

_OPENAI_PREFIX: Final = "/v1/"
# Errors from below name the fields of the core.
_OPENAI_NAMES: Final = {"texts": "input", "max_new_tokens": "max_completion_tokens"}
_SHOWN_VALUE: Final = 80


def install(app: FastAPI) -> None:
    """Make every error of an app leave in the one shape, never as a bare 500."""
    app.add_exception_handler(MalocaError, _on_maloca_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def body_of(info: ErrorInfo) -> dict[str, Any]:
    """Return an error's JSON body."""
    return {
        "error": {
            "message": info.message,
            "type": info.type,
            "code": info.code,
            "param": info.param,
            "hint": info.hint,
        }
    }


def status_for(path: str, info: ErrorInfo) -> int:
    """Return the HTTP status under a path: OpenAI's API says 400 where we say 422."""
    unprocessable = 422
    return 400 if path.startswith(_OPENAI_PREFIX) and info.status == unprocessable else info.status


def response_for(path: str, info: ErrorInfo) -> Response:
    """Return the response of an error under a path."""
    headers = {}
    if path.startswith(_OPENAI_PREFIX) and info.param is not None:
        field, bracket, index = info.param.partition("[")
        name = _OPENAI_NAMES.get(field, field) + bracket + index
        info = msgspec.structs.replace(info, param=name)
    if info.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2
    if info.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(info.retry_after))
    return Response(
        msgspec.json.encode(body_of(info)),
        status_code=status_for(path, info),
        media_type="application/json",
        headers=headers,
    )


async def _on_maloca_error(request: Request, error: Exception) -> Response:
    info = error.info if isinstance(error, MalocaError) else ErrorInfo(message=str(error))
    return response_for(request.url.path, info)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    first = problems[0] if problems else {"loc": (), "msg": "the request is not valid"}
    where = [str(part) for part in first["loc"] if part not in {"body", "query", "path"}]
    param = ".".join(where) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    text = f"{param}: {message}" if param else message
    more = len(problems) - 1
    if more > 0:
        text += f" (and {more} more)"
    return response_for(request.url.path, InvalidRequest(_shorten(text) + ".", param=param).info)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return unexpected(request.url.path)
    path = request.url.path
    # FastAPI wraps whatever goes wrong while it reads a body; ours says more.
    if isinstance(error.__cause__, MalocaError):
        return response_for(path, error.__cause__.info)
    not_found, wrong_method = 404, 405
    if error.status_code == not_found:
        info = NotFound(f"There is nothing at {_shorten(path)}.", hint="See /docs.").info
    elif error.status_code == wrong_method:
        info = ErrorInfo(
            message=f"{request.method} is not possible at {_shorten(path)}.",
            type="invalid_request_error",
            code="method_not_allowed",
            status=wrong_method,
            hint="See /docs.",
        )
    else:
        info = ErrorInfo(
            message=str(error.detail),
            type="invalid_request_error",
            code="http_error",
            status=error.status_code,
        )
    response = response_for(path, info)
    response.headers.update(error.headers or {})
    return response


def defect() -> ErrorInfo:
    """Return the error for a defect of ours; what it was stays in the log."""
    return ErrorInfo(
        message="Something went wrong inside the service.",
        hint="The log has the details under this response's X-Request-Id.",
    )


def unexpected(path: str) -> Response:
    """Return the response for a defect of ours."""
    return response_for(path, defect())


def _shorten(text: str) -> str:
    return text if len(text) <= 4 * _SHOWN_VALUE else text[: 4 * _SHOWN_VALUE] + "…"
