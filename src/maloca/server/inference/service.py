"""Answers within limits: admission, tokens of the day, the cache, and what is left of each."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec

from maloca.core.completer import Completer, Completion, CompletionRequest, collect
from maloca.core.events import Event, Timings
from maloca.server.accounts.principal import Principal
from maloca.server.inference.cache.flights import Flights
from maloca.server.inference.cache.keys import is_repeatable, key_of
from maloca.server.inference.cache.store import AnswerStore
from maloca.server.inference.identity import ModelIdentities
from maloca.server.inference.meter import Meter
from maloca.server.inference.metrics import InferenceMetrics
from maloca.server.inference.settings import InferenceSettings
from maloca.server.limits.allowances import Allowance, Allowances
from maloca.server.limits.budgets import TokenBudgets, estimate
from maloca.server.limits.limiter import RequestLimiter
from maloca.server.limits.rates import Standing, TokensSpent
from maloca.server.usage.recorder import UsageRecorder

# The only provider whose models have a version that we know.
_CACHED_PROVIDER: Final = "engine"
_NO_TIME: Final = Timings(queue_ms=0, ttft_ms=0, total_ms=0, tokens_per_second=0)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, what they may use, and the meter that runs."""

    caller: Principal
    allowance: Allowance
    meter: Meter


@dataclass(slots=True)
class Answer:
    """A whole answer, and whether a model worked for it this time."""

    completion: Completion
    cached: bool


class Inference:
    """What surrounds every completion of the server."""

    def __init__(
        self,
        completer: Completer,
        settings: InferenceSettings,
        *,
        identities: ModelIdentities,
        store: AnswerStore | None,
        limiter: RequestLimiter,
        allowances: Allowances,
        budgets: TokenBudgets,
        recorder: UsageRecorder,
        metrics: InferenceMetrics,
    ) -> None:
        """Join the parts; `store` is None when the cache is off."""
        self._completer = completer
        self.settings = settings
        self._identities = identities
        self._store = store
        self._limiter = limiter
        self._budgets = budgets
        self.allowances = allowances
        self.recorder = recorder
        self.metrics = metrics
        self._flights: Flights[Completion] = Flights()

    def meter(self, caller: Principal, *, route: str, request_id: str) -> Meter:
        """Return a meter for a request that has just come."""
        return Meter(self.recorder, self.metrics, caller, route, request_id)

    async def admit(self, meter: Meter, *, predict: bool) -> tuple[Asker, Standing | None]:
        """Count a request, and return how its caller stands; None means without a limit.

        The caller refuses what was not allowed, so that the standing reaches the response.
        """
        allowance = await self.allowances.of(meter.caller, predict=predict)
        asker = Asker(meter.caller, allowance, meter)
        if allowance.rate is None:
            return asker, None
        standing = await self._limiter.hit(allowance.rate, *allowance.bucket)
        if not standing.allowed:
            self.metrics.limited.labels("requests").inc()
        return asker, standing

    async def stream(self, request: CompletionRequest, asker: Asker) -> AsyncGenerator[Event, None]:
        """Yield one answer's events; see `Completer.complete`. The cache is not asked.

        Raises:
            TokensSpent: It does not fit into the caller's tokens of the day.
        """
        meter = asker.meter
        try:
            async with aclosing(self._generate(request, asker)) as events:
                async for event in events:
                    meter.see(event)
                    yield event
        except BaseException as error:
            meter.ended_by(error)
            raise

    async def answer(
        self, request: CompletionRequest, asker: Asker, *, use_cache: bool = True
    ) -> Answer:
        """Return a whole answer, from the cache if it is sure to be the same.

        Raises:
            TokensSpent: It does not fit into the caller's tokens of the day.
            MalocaError: Whatever the completer raises.
        """
        tenant, store = asker.caller.tenant, self._store
        repeatable = store is not None and is_repeatable(request)
        known = await self._identities.of(request) if repeatable and use_cache else None
        if store is None or known is None:
            if repeatable:
                self.metrics.cache.labels("bypass").inc()
            return Answer(await self._complete(request, asker), cached=False)
        name, identity = known
        key = key_of(request, tenant=tenant, identity=identity)
        if found := await store.get(key):
            self.metrics.cache.labels("hit").inc()
            return self._repeat(found, request, asker)

        async def work() -> Completion:
            completion = await self._complete(request, asker)
            if _may_be_kept(completion, name):
                store.put(key, tenant, completion)
            return completion

        completion, shared = await self._flights.share(key, work, budget=request.budget)
        self.metrics.cache.labels("shared" if shared else "miss").inc()
        self._measure(store)
        if shared:
            return self._repeat(completion, request, asker)
        return Answer(completion, cached=False)

    def _measure(self, store: AnswerStore) -> None:
        self.metrics.cache_bytes.set(store.memory.bytes)
        self.metrics.cache_entries.set(len(store.memory))

    def _repeat(self, found: Completion, request: CompletionRequest, asker: Asker) -> Answer:
        """Return an answer for another request than the one that it was made for."""
        asker.meter.provider = found.started.answered_by
        asker.meter.model = found.started.model
        started = msgspec.structs.replace(found.started, id=request.id, created=int(time.time()))
        repeated = dataclasses.replace(found, started=started, timings=_NO_TIME)
        return Answer(repeated, cached=True)

    async def _complete(self, request: CompletionRequest, asker: Asker) -> Completion:
        return await collect(self._watch(self._generate(request, asker), asker.meter))

    async def _watch(
        self, events: AsyncGenerator[Event, None], meter: Meter
    ) -> AsyncGenerator[Event, None]:
        """Show a meter who answers and when, but not the end: the request may have more parts."""
        async with aclosing(events):
            async for event in events:
                meter.begin(event)
                yield event

    async def _generate(
        self, request: CompletionRequest, asker: Asker
    ) -> AsyncGenerator[Event, None]:
        """Yield events from a model, within the tokens of the day."""
        cap, tenant = asker.allowance.tokens_per_day, asker.caller.tenant
        reservation = None
        if cap is not None:
            try:
                reservation = await self._budgets.reserve(tenant, estimate(request), cap=cap)
            except TokensSpent:
                self.metrics.limited.labels("tokens").inc()
                raise
        tally = asker.meter.tally()
        try:
            wanted = dataclasses.replace(request, flow=tenant)
            async with aclosing(self._completer.complete(wanted)) as events:
                async for event in events:
                    tally.see(event)
                    yield event
        finally:
            if reservation is not None:
                await self._budgets.settle(reservation, tally.charge)


def _may_be_kept(completion: Completion, name: str) -> bool:
    """Return whether an answer is the first choice's own.

    What a fallback said must not outlive the outage, and passages are no model's answer.
    """
    started = completion.started
    return started.answered_by == _CACHED_PROVIDER and not started.skipped and started.model == name
