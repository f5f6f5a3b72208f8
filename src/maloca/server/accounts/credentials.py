"""The credential that a request carries, whichever way it carries it.

There is one way in for all of them, HTTP and WebSockets alike: `Authorization: Bearer` with an
access token or an API key, `x-api-key`, or the cookie of a browser's session. The first that is
there counts; a wrong one is never forgiven because of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from maloca.server.accounts import cookies
from maloca.server.accounts.errors import CrossSiteRequest, Unauthenticated
from maloca.server.accounts.tokens import API_KEY, looks_like_jwt

Kind = Literal["access_token", "api_key", "cookie", "foreign"]

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_LENGTH: Final = 4096


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request shows; "foreign" is one that Maloca has never made."""

    kind: Kind
    secret: str

    def __repr__(self) -> str:
        """Show the kind alone."""
        return f"Credential({self.kind})"


def find(connection: HTTPConnection, *, secure: bool) -> Credential | None:
    """Return the credential of a request, or None if it has none.

    Args:
        connection: A request or a WebSocket.
        secure: Whether cookies have their strict names.

    Raises:
        Unauthenticated: It cannot be one.
        CrossSiteRequest: It is a cookie, and the request may be another site's.
    """
    authorization = connection.headers.get("authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(
                "Only the Bearer scheme is known here.", hint="Send Authorization: Bearer …"
            )
        return _of_program(secret.strip())
    key = connection.headers.get("x-api-key")
    if key is not None:
        return _of_program(key.strip())
    cookie = cookies.session_of(connection, secure=secure)
    if cookie is None:
        return None
    refuse_cross_site(connection, strictly=True)
    return Credential("cookie", cookie)


def refuse_cross_site(connection: HTTPConnection, *, strictly: bool) -> None:
    """Refuse a request that changes something and comes from a page of another site.

    Browsers say with `Sec-Fetch-Site` and `Origin` where a request comes from, and pages cannot
    forge either. WebSockets count as unsafe: they are not bound by the same-origin policy.

    Args:
        connection: A request or a WebSocket.
        strictly: Refuse also when the request says nothing of its origin.

    Raises:
        CrossSiteRequest: As said.
    """
    if connection.scope["type"] == "http" and connection.scope["method"] in _SAFE_METHODS:
        return
    site = connection.headers.get("sec-fetch-site")
    origin = connection.headers.get("origin")
    host = connection.headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise _cross_site("it comes from another origin")
    if site is not None:
        if site != "same-origin":
            raise _cross_site(f"Sec-Fetch-Site is {site[:20]!r}")
    elif origin is None and strictly:
        raise _cross_site("neither Sec-Fetch-Site nor Origin says where it comes from")


def _of_program(secret: str) -> Credential:
    if not secret or len(secret) > _MAX_LENGTH:
        raise Unauthenticated("The credential is empty or too long.", code="invalid_token")
    if secret.startswith(API_KEY):
        return Credential("api_key", secret)
    return Credential("access_token" if looks_like_jwt(secret) else "foreign", secret)


def _cross_site(why: str) -> CrossSiteRequest:
    return CrossSiteRequest(
        f"The request carries a cookie and was refused: {why}.",
        hint="Use the service's own page; a program should send Authorization: Bearer … instead.",
    )
