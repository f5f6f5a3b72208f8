"""What kinds of jobs there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from maloca.core.errors import InvalidRequest

if TYPE_CHECKING:
    from maloca.server.jobs.context import JobContext

Work = Callable[["JobContext"], Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of job.

    Attributes:
        name: Stored with each job.
        target: `module:function` of an `async def work(context) -> dict | None`. Only the job's
            own subprocess imports it.
        limit: How many of this kind run at once, over all runners.
        max_attempts: How often a job is begun before it counts as failed.
    """

    name: str
    target: str
    limit: int = 1
    max_attempts: int = 3

    def load(self) -> Work:
        """Import the function that does the work."""
        module, _, function = self.target.partition(":")
        work: Work = getattr(import_module(module), function)
        return work


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (Kind(name="demo", target="maloca.server.jobs.demo:work", limit=2, max_attempts=3),)
}


def get_kind_or_raise(name: str) -> Kind:
    """Return the kind of that name.

    Raises:
        InvalidRequest: There is none.
    """
    if found := KINDS.get(name):
        return found
    raise InvalidRequest(
        f"{name!r} is not a kind of job.", param="kind", hint=f"There are: {', '.join(KINDS)}."
    )
