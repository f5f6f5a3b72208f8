"""Ask a service whether it is ready, and what it is doing if not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx

_ASK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a service says of itself.

    Attributes:
        ready: Whether it takes requests.
        failed: Whether it says that waiting will not help.
        message: What it waits for, in its own words; empty while it does not answer.
    """

    ready: bool
    failed: bool = False
    message: str = ""


def client() -> httpx.AsyncClient:
    """Return a client for services on this machine: no proxy, no redirects, short timeouts."""
    return httpx.AsyncClient(trust_env=False, timeout=_ASK_SECONDS)


async def ask(http: httpx.AsyncClient, url: str) -> Readiness:
    """Return what the readiness endpoint at `url` says; never raises for a service's failure."""
    try:
        answer = await http.get(url)
    except httpx.HTTPError:
        return Readiness(ready=False)
    if answer.is_success:
        return Readiness(ready=True)
    try:
        body: Any = answer.json()
        message = str(body["message"])
        failed = body.get("status") == "failed"
    except (ValueError, KeyError, TypeError, AttributeError):
        return Readiness(ready=False, message=f"HTTP {answer.status_code}")
    return Readiness(ready=False, failed=failed, message=message)
