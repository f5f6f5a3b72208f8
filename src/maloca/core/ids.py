"""Request ids: random, sortable by eye, safe in headers and logs."""

from __future__ import annotations

import re
import secrets

_VALID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def new_id() -> str:
    """Return 96 random bits in hexadecimal."""
    return secrets.token_hex(12)


def accept_id(candidate: str | None) -> str:
    """Return the caller's id when it is a safe one, else a new id."""
    return candidate if candidate and _VALID.fullmatch(candidate) else new_id()
