"""Providers in order: the first one that speaks answers, and says who did not and why.

The rules are those of ADR 040: errors before the first piece of text may fall back, nothing is
ever spliced after it, and a caller's own mistake returns at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.core.errors import ErrorInfo, Forbidden, InvalidRequest, MalocaError, Unavailable
from maloca.core.events import Done, Event, Skipped, Started
from maloca.server.providers.attempt import Attempt, Timers, falls_through
from maloca.server.providers.base import Declined, Provider, provider_name
from maloca.server.providers.breaker import Breaker, Pass, Refusal
from maloca.server.providers.egress import Egress

MAX_ATTEMPTS: Final = 5
_CODE: Final = re.compile("[a-z0-9_-]{1,64}")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """A provider with its breaker, which outlives changes of the chain."""

    provider: Provider
    breaker: Breaker


@dataclass(slots=True)
class Trail:
    """What one request met on its way through the chain.

    Attributes:
        skipped: A reason for each provider that did not answer, in the order of the chain.
        errors: Why those that were asked, or would have been, failed.
        attempts: How many were asked.
    """

    skipped: dict[str, str] = field(default_factory=dict)
    errors: dict[str, ErrorInfo] = field(default_factory=dict)
    attempts: int = 0

    def note(self, name: str, reason: str, error: ErrorInfo | None = None) -> None:
        """Remember why a provider did not answer; a reason is a code that fits into a header."""
        self.skipped[name] = reason if _CODE.fullmatch(reason) else "failed"
        if error is not None:
            self.errors[name] = error


class ProviderChain:
    """A `Completer` over an ordered list of providers. It never changes: a new one replaces it."""

    def __init__(
        self,
        links: Sequence[Link],
        *,
        egress: Egress | None = None,
        timers: Timers | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        on_attempt: Callable[[str, str], None] | None = None,
    ) -> None:
        """Put providers in order.

        Args:
            links: The providers, the preferred one first.
            egress: The owner's decision about what may leave; by default nothing.
            timers: How long each phase may take.
            max_attempts: How many providers one request may ask.
            on_attempt: Told a provider's name, and "ok", "refused" (the caller's mistake) or an
                error code, once per attempt.
        """
        self.links = tuple(links)
        self.egress = egress or Egress()
        self._timers = timers or Timers()
        self._max_attempts = max_attempts
        self._on_attempt = on_attempt

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield one provider's events; `Started` says whose. See `Completer.complete`."""
        links = self._asked_for(request)
        trail = Trail()
        longest = Budget.of_ms(self._timers.total * 1000)
        budget = min(request.budget or longest, longest, key=lambda budget: budget.deadline)
        request = dataclasses.replace(request, budget=budget)
        for link, right in self._in_turn(links, request, trail):
            trail.attempts += 1
            async with aclosing(
                Attempt(link.provider, request, right=right, timers=self._timers, budget=budget)
            ) as attempt:
                try:
                    opening = await attempt.open()
                except MalocaError as error:
                    self._on_failure(link, error, trail)
                    continue
                self._count(link, "ok")
                for event in opening:
                    yield _signed(event, link, trail) if isinstance(event, Started) else event
                if isinstance(opening[-1], Done):
                    return
                async with aclosing(attempt.rest()) as rest:
                    async for event in rest:
                        yield event
                return
        raise self._nobody(links, trail).to_exception()

    def _asked_for(self, request: CompletionRequest) -> Sequence[Link]:
        """Return the links that a request may use: all, or the one that it names."""
        if request.provider is None:
            return self.links
        try:
            wanted = provider_name(request.provider)
        except ValueError as error:
            raise InvalidRequest(f"provider: {error}.", param="provider") from None
        found = [link for link in self.links if link.provider.name == wanted]
        if not found:
            raise InvalidRequest(
                f"The provider {wanted!r} is not part of this server's chain.",
                param="provider",
                hint="GET /model tells which providers are.",
            )
        return found

    def _in_turn(
        self, links: Sequence[Link], request: CompletionRequest, trail: Trail
    ) -> Iterator[tuple[Link, Pass]]:
        """Yield whom to ask next for as long as there is time.

        A provider of the house whose breaker is open goes to the end of the line, not out of it:
        when nobody else answers, there is nothing to lose by asking.
        """
        last_resort: list[Link] = []
        for link in links:
            if self._exhausted(request, trail):
                return
            refusal = self.egress.refuses(local=link.provider.local, privacy=request.privacy)
            if refusal is not None:
                trail.note(link.provider.name, refusal)
                continue
            admitted = link.breaker.admit(link.provider.secret)
            if isinstance(admitted, Refusal):
                trail.note(link.provider.name, admitted.reason, admitted.error)
                if link.provider.local and admitted.reason != "key_refused":
                    last_resort.append(link)
                continue
            yield link, admitted
        for link in last_resort:
            if self._exhausted(request, trail):
                return
            yield link, link.breaker.force(link.provider.secret)

    def _exhausted(self, request: CompletionRequest, trail: Trail) -> bool:
        spent = request.budget is not None and request.budget.remaining_seconds <= 0
        return trail.attempts > 0 and (spent or trail.attempts >= self._max_attempts)

    def _on_failure(self, link: Link, error: MalocaError, trail: Trail) -> None:
        """Note a failure before the first piece of text; the caller's own mistake goes back."""
        name = link.provider.name
        self._count(link, error.info.code if falls_through(error.info) else "refused")
        if isinstance(error, Declined):
            trail.note(name, error.info.code)
            return
        if not falls_through(error.info):
            raise error
        trail.note(name, error.info.code, error.info)
        log.warning("provider_failed", provider=name, reason=error.info.code, error=str(error))

    def _nobody(self, links: Sequence[Link], trail: Trail) -> ErrorInfo:
        """Return the error of a request that nobody answered: the first provider's own."""
        for link in links:
            error = trail.errors.get(link.provider.name)
            if error is not None:
                return error
        reasons = ", ".join(f"{name}: {reason}" for name, reason in trail.skipped.items())
        if trail.skipped and not trail.attempts:
            return Forbidden(
                f"No provider may answer this request ({reasons}).",
                code="egress_refused",
                hint="Send privacy=cloud-allowed, and let the owner turn egress on.",
            ).info
        return Unavailable(
            f"No provider can answer ({reasons or 'the chain is empty'}).",
            code="no_provider",
            hint="Start the engine with maloca up, or set MALOCA_CHAIN.",
        ).info

    def _count(self, link: Link, outcome: str) -> None:
        if self._on_attempt is not None:
            self._on_attempt(link.provider.name, outcome)


def _signed(started: Started, link: Link, trail: Trail) -> Started:
    """Return the start of an answer with who gives it, and why the others before did not."""
    name = link.provider.name
    skipped = [Skipped(who, why) for who, why in trail.skipped.items() if who != name]
    if not skipped and started.answered_by == name:
        return started
    return msgspec.structs.replace(started, answered_by=name, skipped=skipped)
