"""Core events made from a cloud's pieces of text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from maloca.core.completer import CompletionRequest
from maloca.core.events import Delta, Done, Event, FinishReason, Started, Timings, Usage
from maloca.text.stops import StopCutter

_CHARACTERS_PER_TOKEN: Final = 4


class Answer:
    """Counts, times and cuts one answer.

    Stop strings are cut here as well as upstream, because clouds accept only a few of them.
    """

    def __init__(self, request: CompletionRequest) -> None:
        self._request = request
        self._cutter = StopCutter(request.sampling.stop)
        self._began = time.monotonic()
        self._first_at: float | None = None
        self._characters = 0
        self.started = False
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.finish_reason: FinishReason | None = None

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come: the rest of the stream is of no interest."""
        return self._cutter.stopped

    @property
    def is_empty(self) -> bool:
        """Whether there has been no text."""
        return self._characters == 0

    def start(self, model: str) -> Iterator[Event]:
        """Yield the start, once."""
        if not self.started:
            self.started = True
            yield Started(
                id=self._request.id,
                model=model,
                created=int(time.time()),
                prompt_tokens=self.prompt_tokens or 0,
            )

    def add(self, text: str) -> Iterator[Event]:
        """Yield what is certainly part of the answer."""
        self._first_at = self._first_at or time.monotonic()
        self._characters += len(text)
        shown = self._cutter.feed(text)
        if shown:
            yield Delta(shown)

    def count(self, prompt: Any, completion: Any) -> None:
        """Take the service's own token counts; what is no number is left out."""
        if isinstance(prompt, int):
            self.prompt_tokens = prompt
        if isinstance(completion, int):
            self.completion_tokens = completion

    def end(self) -> Iterator[Event]:
        """Yield the rest of the text, the usage and the end."""
        if held := self._cutter.flush():
            yield Delta(held)
        usage = self._usage()
        yield usage
        yield Done(
            finish_reason="stop" if self.stopped else self.finish_reason or "stop",
            timings=self._timings(usage.completion_tokens),
        )

    def _usage(self) -> Usage:
        """Return the token counts; a service that tells none is estimated from its characters."""
        prompt, completion = self.prompt_tokens, self.completion_tokens
        if prompt is None:
            prompt = sum(len(m.content) for m in self._request.messages) // _CHARACTERS_PER_TOKEN
        if completion is None:
            completion = self._characters // _CHARACTERS_PER_TOKEN
        return Usage(prompt_tokens=prompt, completion_tokens=completion)

    def _timings(self, tokens: int) -> Timings:
        now = time.monotonic()
        first = self._first_at or now
        speed = (tokens - 1) / (now - first) if tokens > 1 and now > first else 0.0
        return Timings(
            queue_ms=0.0,
            ttft_ms=(first - self._began) * 1000,
            total_ms=(now - self._began) * 1000,
            tokens_per_second=speed,
        )
