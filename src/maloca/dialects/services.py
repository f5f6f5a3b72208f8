"""What a dialect's routes need from the service that mounts them.

The service's lifespan yields them as state; routes receive them as typed dependencies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypedDict

from fastapi import Depends, Request

from maloca.asgi.request_context import BUDGET_MS
from maloca.core.budget import Budget
from maloca.core.completer import Completer, Embedder, ModelLister, Privacy, TokenCounter
from maloca.core.errors import InvalidRequest

MAX_BUDGET_MS: Final = 24 * 3600 * 1000
PROVIDER: Final = "X-Maloca-Provider"
PRIVACY: Final = "X-Maloca-Privacy"
_PRIVACIES: Final[tuple[Privacy, ...]] = ("local-only", "cloud-allowed")
_MILLISECONDS: Final = re.compile("[0-9]{1,12}")


class Services(TypedDict):
    """The state that a lifespan yields."""

    completer: Completer
    embedder: Embedder
    lister: ModelLister
    token_counter: TokenCounter


@dataclass(frozen=True, slots=True)
class Routing:
    """Who may answer, for dialects whose bodies have no place for it.

    Attributes:
        provider: Ask this one alone.
        privacy: How far the conversation may travel; None means the strictest.
    """

    provider: str | None = None
    privacy: Privacy | None = None


async def _completer(request: Request) -> Completer:
    completer: Completer = request.state.completer
    return completer


async def _embedder(request: Request) -> Embedder:
    embedder: Embedder = request.state.embedder
    return embedder


async def _lister(request: Request) -> ModelLister:
    lister: ModelLister = request.state.lister
    return lister


async def _token_counter(request: Request) -> TokenCounter:
    token_counter: TokenCounter = request.state.token_counter
    return token_counter


async def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


async def _budget(request: Request) -> Budget | None:
    """Read how much time the caller allows."""
    given = request.headers.get(BUDGET_MS)
    if given is None:
        return None
    if not _MILLISECONDS.fullmatch(given) or not 0 < int(given) <= MAX_BUDGET_MS:
        raise InvalidRequest(
            f"{BUDGET_MS}: {given[:40]!r} is not a number of milliseconds.",
            param=BUDGET_MS,
            hint=f"Send a whole number from 1 to {MAX_BUDGET_MS}.",
        )
    return Budget.of_ms(int(given))


async def _routing(request: Request) -> Routing:
    """Read who may answer."""
    given = request.headers.get(PRIVACY)
    privacy = next((known for known in _PRIVACIES if known == given), None)
    if given is not None and privacy is None:
        raise InvalidRequest(
            f"{PRIVACY}: {given[:40]!r} is not known.",
            param=PRIVACY,
            hint=f"Send {' or '.join(_PRIVACIES)}.",
        )
    return Routing(request.headers.get(PROVIDER), privacy)


CompleterDep = Annotated[Completer, Depends(_completer)]
EmbedderDep = Annotated[Embedder, Depends(_embedder)]
ListerDep = Annotated[ModelLister, Depends(_lister)]
TokenCounterDep = Annotated[TokenCounter, Depends(_token_counter)]
RequestId = Annotated[str, Depends(_request_id)]
BudgetDep = Annotated[Budget | None, Depends(_budget)]
RoutingDep = Annotated[Routing, Depends(_routing)]
