"""The cookies of a browser: the session's, and the one that knows a device again.

Over HTTPS they are named `__Host-…`, which browsers accept only with Secure, without a domain and
for the whole host. A plain HTTP address on a local network could not log in with those, so there
the names are plain and Secure is left out; every other attribute is the same.
"""

from __future__ import annotations

from typing import Final

from fastapi import Response
from starlette.requests import HTTPConnection

from maloca.server.accounts.tokens import BROWSER, DEVICE_DAYS

_SESSION: Final = "maloca_session"
_DEVICE: Final = "maloca_device"
_PREFIX: Final = "__Host-"
_DAY: Final = 24 * 3600


def session_of(connection: HTTPConnection, *, secure: bool) -> str | None:
    """Return the secret of the browser's session, if it sent one."""
    secret = connection.cookies.get(_name(_SESSION, secure=secure))
    return secret if secret and secret.startswith(BROWSER) else None


def device_of(connection: HTTPConnection, *, secure: bool) -> str | None:
    """Return what the browser was given at an earlier login."""
    return connection.cookies.get(_name(_DEVICE, secure=secure))


def set_session(response: Response, secret: str, *, days: float, secure: bool) -> None:
    """Give the browser its session."""
    _set(response, _SESSION, secret, seconds=int(days * _DAY), secure=secure)


def set_device(response: Response, token: str, *, secure: bool) -> None:
    """Give the browser what it will be known by at the next login."""
    _set(response, _DEVICE, token, seconds=DEVICE_DAYS * _DAY, secure=secure)


def clear_session(response: Response, *, secure: bool) -> None:
    """Take the session from the browser."""
    _set(response, _SESSION, "", seconds=0, secure=secure)


def is_secure(connection: HTTPConnection, *, chosen: bool | None) -> bool:
    """Return whether cookies are marked Secure: as the owner chose, else when HTTPS is seen."""
    return connection.url.scheme in {"https", "wss"} if chosen is None else chosen


def _name(name: str, *, secure: bool) -> str:
    # Where the strict name is used the plain one counts for nothing: a neighbour could set it.
    return _PREFIX + name if secure else name


def _set(response: Response, name: str, value: str, *, seconds: int, secure: bool) -> None:
    response.set_cookie(
        _name(name, secure=secure),
        value,
        max_age=seconds,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
