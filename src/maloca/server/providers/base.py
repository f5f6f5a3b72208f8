"""What every provider is, and the ways in which one can say no."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, Literal, Protocol

from maloca.core.completer import CompletionRequest
from maloca.core.errors import MalocaError
from maloca.core.events import Event

ProviderName = Literal["engine", "standby", "openai", "anthropic", "extractive"]
NAMES: Final[tuple[ProviderName, ...]] = (
    "engine",
    "standby",
    "openai",
    "anthropic",
    "extractive",
)
# Names of earlier deployments.
ALIASES: Final[dict[str, ProviderName]] = {"hf": "engine", "claude": "anthropic"}


class Provider(Protocol):
    """A `Completer` with a name.

    Attributes:
        model: The model that answers when the caller leaves the choice open.
    """

    model: str

    @property
    def name(self) -> ProviderName:
        """The name under which requests, settings and answers know it."""
        ...

    @property
    def local(self) -> bool:
        """Whether it works on this machine, or in the owner's own engine.

        Using it sends nothing to a stranger.
        """
        ...

    @property
    def secret(self) -> str | None:
        """The key in force, or None; a refused one is not used again until it changes."""
        ...

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one answer; see `Completer.complete`."""
        ...

    async def check(self) -> None:
        """Find out whether it would answer, without asking for anything.

        Raises:
            MalocaError: It would not, and why.
        """
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Declined(MalocaError):
    """The provider has nothing to offer for this request; that is no fault of anybody."""

    status = 503
    code = "declined"


class KeyRefused(MalocaError):
    """A provider does not accept our key (401 or 403); the caller's own is in order."""

    status = 503
    code = "provider_refuses_key"


class ProviderFailed(MalocaError):
    """What a provider answered cannot be used: a broken stream, an empty one, a server error."""

    status = 502
    code = "provider_failed"


def provider_name(given: str) -> ProviderName:
    """Return the provider that a name or an alias means.

    Raises:
        ValueError: There is none; the message lists the choices.
    """
    wanted = ALIASES.get(given.strip().lower(), given.strip().lower())
    for name in NAMES:
        if name == wanted:
            return name
    raise ValueError(f"there is no provider {given[:40]!r}; choose {', '.join(NAMES)}")
