"""Providers that do what a test writes, and requests to ask them with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from maloca.core.completer import CompletionRequest
from maloca.core.errors import ErrorInfo, MalocaError
from maloca.core.events import Delta, Done, Event, Failed, Started, Timings, Usage
from maloca.core.messages import Message
from maloca.server.providers.base import KeyRefused, ProviderName

TIMINGS: Final = Timings(queue_ms=0, ttft_ms=0, total_ms=0, tokens_per_second=0)
DONE: Final = Done(finish_reason="stop", timings=TIMINGS)
USAGE: Final = Usage(prompt_tokens=1, completion_tokens=2)

Step = Event | MalocaError | Exception | float


def started(model: str = "m") -> Started:
    return Started(id="1", model=model, created=1, prompt_tokens=1)


def answer(text: str = "hola") -> list[Step]:
    return [started(), Delta(text), USAGE, DONE]


def error(status: int, code: str = "broken", **more: Any) -> MalocaError:
    return ErrorInfo(message=f"It said {status}", status=status, code=code, **more).to_exception()


def failed(status: int = 500) -> Failed:
    return Failed(error(status).info)


def key_refused() -> MalocaError:
    return KeyRefused("The key is refused.")


def request(**options: Any) -> CompletionRequest:
    return CompletionRequest(model="default", messages=[Message("user", "hola")], **options)


class Scripted:
    """Plays one script per request, the last one for ever; a number is a pause in seconds."""

    def __init__(self, name: ProviderName, *scripts: Sequence[Step], local: bool = True) -> None:
        self.name: ProviderName = name
        self.local = local
        self.model = name
        self.secret: str | None = "k"  # noqa: S105 - made up
        self.scripts = [list(script) for script in scripts] or [answer(f"from {name}")]
        self.asked: list[CompletionRequest] = []
        self.closed = 0

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed += 1

    async def check(self) -> None:
        """Be well."""

    async def aclose(self) -> None:
        """Hold nothing."""
