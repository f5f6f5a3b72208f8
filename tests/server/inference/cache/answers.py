"""Requests and answers for the cache's tests."""

from __future__ import annotations

from typing import Any

from maloca.core.completer import Completion, CompletionRequest
from maloca.core.events import Started, Timings, Usage
from maloca.core.messages import Message
from maloca.core.sampling import Sampling


def request(prompt: str = "hola", **sampling: Any) -> CompletionRequest:
    return CompletionRequest(
        model="default",
        messages=[Message("user", prompt)],
        sampling=Sampling(**{"temperature": 0.0} | sampling),
    )


def answer(text: str = "El fuego", **started: Any) -> Completion:
    who: dict[str, Any] = {"id": "r1", "model": "fake", "created": 1, "prompt_tokens": 3}
    return Completion(
        started=Started(**who | started),
        text=text,
        usage=Usage(prompt_tokens=3, completion_tokens=2),
        finish_reason="stop",
        timings=Timings(queue_ms=1, ttft_ms=2, total_ms=3, tokens_per_second=4),
    )
