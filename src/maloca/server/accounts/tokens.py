"""Secrets that people and programs carry: how they are made, told apart and looked up.

Access tokens are JSON Web Tokens (RFC 7519) that end after minutes. All others are random and
stored as their SHA-256: with 160 bits or more there is nothing to guess, so no slow hash is needed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from maloca.server.accounts.errors import Unauthenticated
from maloca.server.db.base import now

API_KEY: Final = "mlk_"
REFRESH: Final = "mlr_"
BROWSER: Final = "mls_"
INVITATION: Final = "mli_"

SHOWN_PREFIX: Final = 12
_RANDOM_BYTES: Final = 20
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "maloca"
_AUDIENCE: Final = "maloca"
_DEVICE_AUDIENCE: Final = "maloca-device"
_PARTS: Final = 3
# Clocks of replicas differ a little.
_LEEWAY: Final = 5
DEVICE_DAYS: Final = 365


def new_secret(kind: str) -> str:
    """Return a secret with the prefix of its kind and 160 random bits."""
    return kind + secrets.token_hex(_RANDOM_BYTES)


def digest(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def looks_like_jwt(text: str) -> bool:
    """Tell whether a credential has the form of an access token."""
    return text.startswith("ey") and len(text.split(".")) == _PARTS


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a valid access token says."""

    user_id: str
    session_id: str


class TokenSigner:
    """Signs and reads the tokens that carry their own meaning."""

    def __init__(self, secret: str, *, minutes: float) -> None:
        """Take a secret of at least 32 characters, and how long access tokens last."""
        self._key = OctKey.import_key(secret.encode())
        self.seconds: Final = int(minutes * 60)

    def issue(self, user_id: str, session_id: str) -> str:
        """Return an access token of a session."""
        return self._sign(
            {"sub": user_id, "sid": session_id}, _AUDIENCE, dt.timedelta(seconds=self.seconds)
        )

    def read(self, token: str) -> AccessClaims:
        """Return what an access token says; whether its session still lives, the database knows.

        Raises:
            Unauthenticated: It is not ours, is for another use, or is not valid at this time.
        """
        claims = self._claims(token, _AUDIENCE)
        user_id, session_id = claims.get("sub"), claims.get("sid")
        if not isinstance(user_id, str) or not isinstance(session_id, str):
            raise _invalid()
        return AccessClaims(user_id, session_id)

    def issue_device(self, user_id: str) -> str:
        """Return what a browser keeps to be recognised at the next login of that account."""
        extra = {"sub": user_id, "jti": secrets.token_hex(12)}
        return self._sign(extra, _DEVICE_AUDIENCE, dt.timedelta(days=DEVICE_DAYS))

    def read_device(self, token: str | None, user_id: str) -> str | None:
        """Return the id of a device on which that account has signed in before, else None."""
        try:
            claims = self._claims(token or "", _DEVICE_AUDIENCE)
        except Unauthenticated:
            return None
        device = claims.get("jti")
        return device if claims.get("sub") == user_id and isinstance(device, str) else None

    def _sign(self, claims: dict[str, Any], audience: str, lifetime: dt.timedelta) -> str:
        present = int(now().timestamp())
        timed = {"iat": present, "nbf": present, "exp": present + int(lifetime.total_seconds())}
        return jwt.encode(
            {"alg": _ALGORITHM},
            {"iss": _ISSUER, "aud": audience, **timed, **claims},
            self._key,
            algorithms=[_ALGORITHM],
        )

    def _claims(self, token: str, audience: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
        except (JoseError, ValueError):
            raise _invalid() from None
        # joserfc checks the signature alone; the rest is checked here, each claim being required.
        if claims.get("iss") != _ISSUER or claims.get("aud") != audience:
            raise _invalid()
        begins, ends = claims.get("nbf"), claims.get("exp")
        if not isinstance(begins, int) or not isinstance(ends, int):
            raise _invalid()
        present = now().timestamp()
        if present >= ends:
            raise Unauthenticated(
                "The access token has expired.",
                code="token_expired",
                hint="Get a new one at /auth/refresh, or sign in again.",
            )
        if present + _LEEWAY < begins:
            raise _invalid()
        return dict(claims)


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "The access token is not valid.", code="invalid_token", hint="Sign in again."
    )
