"""What a dialect's routes complete and embed with, for the length of one request."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from maloca.core.completer import (
    Completer,
    CompletionRequest,
    Embedder,
    EmbeddingRequest,
    Embeddings,
)
from maloca.core.events import Delta, Done, Event, FinishReason
from maloca.server.inference.service import Asker, Inference


class MeteredCompleter(Completer):
    """Completes within the limits of one caller; whole answers may come from the cache."""

    def __init__(self, inference: Inference, asker: Asker, *, whole: bool, use_cache: bool) -> None:
        """Serve one request.

        Args:
            inference: What surrounds every completion.
            asker: Whose request it is.
            whole: The route wants the answer in one piece.
            use_cache: False when the caller does not want it.
        """
        self._inference = inference
        self._asker = asker
        self._whole = whole
        self._use_cache = use_cache

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one answer; see `Completer.complete`."""
        if not self._whole:
            async for event in self._inference.stream(request, self._asker):
                yield event
            return
        answer = await self._inference.answer(request, self._asker, use_cache=self._use_cache)
        found = answer.completion
        self._asker.meter.cached = answer.cached
        self._asker.meter.end("ok")
        yield found.started
        yield Delta(found.text)
        yield found.usage
        reason: FinishReason = "length" if found.finish_reason == "length" else "stop"
        yield Done(finish_reason=reason, timings=found.timings)


class MeteredEmbedder(Embedder):
    """Embeds, and notes what it cost."""

    def __init__(self, embedder: Embedder, asker: Asker) -> None:
        self._embedder = embedder
        self._asker = asker

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Return one vector per text; see `Embedder.embed`."""
        found = await self._embedder.embed(request)
        meter = self._asker.meter
        meter.provider, meter.model = "engine", found.model
        meter.tally().prompt_tokens = found.tokens
        meter.end("ok")
        return found
