"""Follows one request from its admission to its end, and leaves its one row of usage."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from maloca.asgi.streaming import ClientGone
from maloca.core.errors import MalocaError
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Started, Usage
from maloca.core.ids import new_id
from maloca.server.accounts.principal import Principal
from maloca.server.db.base import now
from maloca.server.inference.metrics import InferenceMetrics
from maloca.server.limits.rates import RateLimited, TokensSpent
from maloca.server.usage.recorder import UsageRecorder

Status = Literal["ok", "failed", "cancelled", "rate_limited"]


@dataclass(slots=True)
class Tally:
    """What one completion has cost so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: bool = False

    def see(self, event: Event) -> None:
        """Count an event; until the usage is known, a piece of text counts as one token."""
        match event:
            case Started():
                self.prompt_tokens = event.prompt_tokens
            case Delta():
                self.completion_tokens += 1
            case Usage():
                self.prompt_tokens = event.prompt_tokens
                self.completion_tokens = event.completion_tokens
            case Failed():
                self.failed = True
            case _:
                pass

    @property
    def charge(self) -> int:
        """Tokens to charge: nothing for a failure."""
        return 0 if self.failed else self.prompt_tokens + self.completion_tokens


@dataclass(slots=True)
class Meter:
    """One request; use it in `with`, which records how it ended.

    A request that ends without any sign of an answer was cancelled: its client has gone.
    """

    recorder: UsageRecorder
    metrics: InferenceMetrics
    caller: Principal
    route: str
    request_id: str
    provider: str = ""
    model: str = ""
    cached: bool = False
    status: Status | None = None
    error: str = ""
    tallies: list[Tally] = field(default_factory=list)
    _began: float = field(default_factory=time.perf_counter)
    _first: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.ended_by(error)
        self._record()

    def tally(self) -> Tally:
        """Begin to count one more completion of this request."""
        tally = Tally()
        self.tallies.append(tally)
        return tally

    def begin(self, event: Event) -> None:
        """Note who answers, and when the first text came."""
        match event:
            case Started():
                self.provider, self.model = event.answered_by, event.model
            case Delta():
                self._first = self._first or time.perf_counter()
            case _:
                pass

    def see(self, event: Event) -> None:
        """Note who answers, when, and how it ends."""
        self.begin(event)
        match event:
            case Done():
                self.end("ok")
            case Cancelled():
                self.end("cancelled")
            case Failed(error):
                self.end("failed", error.code)
            case _:
                pass

    def ended_by(self, error: BaseException) -> None:
        """Note that an exception ended the request."""
        match error:
            case RateLimited() | TokensSpent():
                self.end("rate_limited", error.info.code)
            case ClientGone() | asyncio.CancelledError() | GeneratorExit():
                self.end("cancelled")
            case MalocaError():
                self.end("failed", error.info.code)
            case _:
                # FastAPI's own refusals of a body are the caller's; the rest are ours.
                invalid = type(error).__name__ == "RequestValidationError"
                self.end("failed", "invalid_request" if invalid else "internal_error")

    def end(self, status: Status, error: str = "") -> None:
        """Note how the request ended, unless that is known already."""
        if self.status is None:
            self.status, self.error = status, error

    def _record(self) -> None:
        seconds = time.perf_counter() - self._began
        ttft = None if self._first is None else self._first - self._began
        prompt = sum(tally.prompt_tokens for tally in self.tallies)
        completion = sum(tally.completion_tokens for tally in self.tallies)
        status = self.status or "cancelled"
        metrics = self.metrics
        metrics.requests.labels(self.route, self.provider, status).inc()
        metrics.seconds.labels(self.route).observe(seconds)
        metrics.tokens.labels(self.provider, "prompt").inc(prompt)
        metrics.tokens.labels(self.provider, "completion").inc(completion)
        if ttft is not None:
            metrics.ttft.labels(self.provider).observe(ttft)
        present = now()
        self.recorder.record(
            {
                "id": new_id(),
                "at": present,
                "day": present.date(),
                "request_id": self.request_id,
                "user_id": self.caller.user_id,
                "key_id": self.caller.key_id,
                "route": self.route,
                "provider": self.provider,
                "model": self.model,
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "ttft_ms": None if ttft is None else round(ttft * 1000, 2),
                "duration_ms": round(seconds * 1000, 2),
                "status": status,
                "error": self.error[:64],
                "cached": self.cached,
            }
        )
