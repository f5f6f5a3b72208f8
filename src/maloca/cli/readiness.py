"""Ask a service whether it is ready, and what it is doing if not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
import psutil

from maloca.asgi import records
from maloca.cli.child import Child

FAILED: Final = frozenset({"failed", "no_model"})
_ASK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a service says of itself.

    Attributes:
        ready: Whether it takes requests.
        status: Its own word, such as "loading"; empty while it does not answer.
        message: What it waits for, in its own words, if it says.
    """

    ready: bool
    status: str = ""
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether waiting will not help."""
        return self.status in FAILED


def client() -> httpx.AsyncClient:
    """Return a client for services on this machine: no proxy, no redirects, short timeouts."""
    return httpx.AsyncClient(trust_env=False, timeout=_ASK_SECONDS)


async def ask(http: httpx.AsyncClient, child: Child | None) -> Readiness:
    """Return what a service says of itself; never raises for its failure.

    Args:
        http: Asks a service that has an address.
        child: The service's process; None while it has none.
    """
    if child is None:
        return Readiness(ready=False)
    url = child.service.ready_url
    if url is None:
        return Readiness(ready=_has_recorded_itself(child))
    try:
        answer = await http.get(url)
    except httpx.HTTPError:
        return Readiness(ready=False)
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    return Readiness(
        ready=answer.is_success,
        status=str(said.get("status") or f"HTTP {answer.status_code}"),
        message=str(said.get("message") or ""),
    )


def _has_recorded_itself(child: Child) -> bool:
    """Tell whether the record of that name is of this process and not of an earlier one."""
    record = records.find(child.service.name)
    if record is None:
        return False
    try:
        # On Windows, a virtual environment's Python starts the real one as its child.
        return child.pid in {record.pid, psutil.Process(record.pid).ppid()}
    except psutil.Error:
        return False
