"""One provider asked once: its timers, and what its events mean for the chain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import structlog

from maloca.asgi.errors import defect
from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.core.errors import BudgetExceeded, ErrorInfo, MalocaError, Unavailable
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Started
from maloca.server.providers.base import Declined, KeyRefused, Provider, ProviderFailed
from maloca.server.providers.breaker import Pass

_REQUEST_TIMEOUT: Final = 408
_TOO_MANY_REQUESTS: Final = 429
_KEY_STATUSES: Final = frozenset({401, 403})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """How long each phase may take, in seconds. The time to connect belongs to each provider.

    Attributes:
        first_token: From asking a provider to its first piece of text.
        idle: Between two pieces after that.
        total: The whole request, over all providers, when the caller brings no budget.
    """

    first_token: float = 60.0
    idle: float = 60.0
    total: float = 600.0


class Attempt:
    """Asks a provider and tells its breaker how that went."""

    def __init__(
        self,
        provider: Provider,
        request: CompletionRequest,
        *,
        right: Pass,
        timers: Timers,
        budget: Budget,
    ) -> None:
        self._provider = provider
        self._events = provider.complete(request)
        self._right = right
        self._timers = timers
        self._budget = budget
        self._reported = False

    async def open(self) -> list[Event]:
        """Return the events up to the first piece of text, or to the end of an empty answer.

        Raises:
            MalocaError: There was none; nothing of it has been shown to anybody.
        """
        opening: list[Event] = []
        deadline = asyncio.get_running_loop().time() + min(
            self._timers.first_token, self._budget.remaining_seconds
        )
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    event = await anext(self._events)
                _refuse_empty_end(event)
                opening.append(event)
                if isinstance(event, Delta | Done):
                    break
        except TimeoutError:
            raise self._failed(self._too_slow()) from None
        except StopAsyncIteration:
            raise self._failed(self._broken("ended without an answer")) from None
        except MalocaError as error:
            raise self._failed(error) from error
        except Exception as error:
            log.exception("provider_defect", provider=self._provider.name)
            raise self._failed(defect().to_exception()) from error
        if not isinstance(opening[0], Started):
            raise self._failed(self._broken("did not begin like an answer"))
        self._note(opening[-1])
        return opening

    async def rest(self) -> AsyncGenerator[Event, None]:
        """Yield what follows the opening, up to exactly one terminal event."""
        while True:
            failure: MalocaError
            try:
                async with asyncio.timeout(min(self._timers.idle, self._budget.remaining_seconds)):
                    event = await anext(self._events)
            except TimeoutError:
                failure = self._went_quiet()
            except StopAsyncIteration:
                failure = self._broken("broke off")
            except MalocaError as error:
                failure = error
            except Exception:
                log.exception("provider_defect", provider=self._provider.name)
                failure = defect().to_exception()
            else:
                if not isinstance(event, Failed):
                    self._note(event)
                    yield event
                    if isinstance(event, Done | Cancelled):
                        return
                    continue
                failure = event.error.to_exception()
            yield Failed(self._failed(failure).info)
            return

    async def aclose(self) -> None:
        """Stop the provider, and free its slot."""
        if not self._reported:
            self._reported = True
            self._right.abandoned()
        await self._events.aclose()

    def _note(self, event: Event) -> None:
        if isinstance(event, Delta):
            if not self._reported:
                self._right.began()
        elif isinstance(event, Done):
            self._reported = True
            self._right.finished()

    def _failed(self, error: MalocaError) -> MalocaError:
        """Tell the breaker what an error says of the provider, and return it."""
        if not self._reported:
            self._reported = True
            if self._budget.remaining_seconds <= 0 or isinstance(error, Declined):
                # The caller's time ran out, or there was nothing to ask for: no fault of it.
                self._right.abandoned()
            elif falls_through(error.info):
                self._right.failed(error.info)
            else:
                self._right.finished()
        return error

    def _too_slow(self) -> MalocaError:
        if self._budget.remaining_seconds <= 0:
            return self._budget.exceeded()
        return BudgetExceeded(
            f"{self._provider.name} said nothing for {self._timers.first_token:g} s.",
            code="first_token_timeout",
            hint="Allow more with MALOCA_FIRST_TOKEN_TIMEOUT, or load a smaller model.",
        )

    def _went_quiet(self) -> MalocaError:
        if self._budget.remaining_seconds <= 0:
            return self._budget.exceeded()
        return BudgetExceeded(
            f"{self._provider.name} fell silent for {self._timers.idle:g} s.",
            code="idle_timeout",
            hint="Send the request again, or allow more with MALOCA_IDLE_TIMEOUT.",
        )

    def _broken(self, what: str) -> MalocaError:
        return ProviderFailed(
            f"The stream of {self._provider.name} {what}.",
            code="stream_broken",
            hint="Send the request again.",
        )


def _refuse_empty_end(event: Event) -> None:
    """Raise what an event says if it ends an answer that has not begun."""
    if isinstance(event, Failed):
        raise event.error.to_exception()
    if isinstance(event, Cancelled):
        raise Unavailable(f"The generation was stopped: {event.reason}.", code="cancelled")


def falls_through(error: ErrorInfo) -> bool:
    """Return whether another provider may do better than one that failed so.

    Whatever is the caller's own mistake returns at once.
    """
    return (
        error.status >= 500  # noqa: PLR2004 - the server errors
        or error.status in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS, *_KEY_STATUSES}
        or error.code == KeyRefused.code
    )
