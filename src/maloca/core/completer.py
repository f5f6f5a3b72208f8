"""The protocol that joins everything which can complete a conversation, or embed texts."""

from __future__ import annotations

import array
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from maloca.core.budget import Budget
from maloca.core.errors import Unavailable
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Started, Timings, Usage
from maloca.core.ids import new_id
from maloca.core.messages import Message
from maloca.core.sampling import Sampling

Privacy = Literal["local-only", "cloud-allowed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """A conversation to continue.

    Attributes:
        model: A model's name or an alias.
        messages: At least one.
        flow: An opaque id of whoever asks, so that one asker cannot crowd out the others.
        budget: None means no limit but the service's own.
        provider: Ask this provider alone; None leaves the choice to the chain.
        privacy: How far the conversation may travel; None means the strictest.
        cache_prompt: False forbids that the prompt's prefix is kept for, or taken from, others.
    """

    model: str
    messages: Sequence[Message]
    sampling: Sampling = field(default_factory=Sampling)
    id: str = field(default_factory=new_id)
    flow: str | None = None
    budget: Budget | None = None
    provider: str | None = None
    privacy: Privacy | None = None
    cache_prompt: bool = True


class Completer(Protocol):
    """Whatever answers a conversation: the engine, its client, a provider, a chain of them."""

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield `Started`, deltas, usage and exactly one terminal event.

        Closing the generator cancels the request and frees its slot.

        Raises:
            MalocaError: Before `Started`, when the request is refused. After `Started` a
                failure is a `Failed` event.
        """
        ...


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors of unit length, one for each text in order.

    Attributes:
        model: The model's own name, after aliases.
        dim: Length of a vector.
        data: Row-major little-endian float32, shape (texts, dim).
        tokens: Tokens read, special tokens included.
    """

    model: str
    dim: int
    data: bytes
    tokens: int

    @property
    def count(self) -> int:
        """Number of vectors."""
        return len(self.data) // (4 * self.dim)

    @property
    def vectors(self) -> list[list[float]]:
        """The vectors as numbers, shape (texts, dim)."""
        values = array.array("f", self.data)
        if sys.byteorder == "big":
            values.byteswap()
        flat = values.tolist()
        return [flat[i : i + self.dim] for i in range(0, len(flat), self.dim)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """Texts to embed. `model` is a name or an alias."""

    model: str
    texts: Sequence[str]
    id: str = field(default_factory=new_id)
    budget: Budget | None = None


class Embedder(Protocol):
    """Whatever turns texts into vectors."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Return one vector per text.

        Raises:
            MalocaError: Unknown model, a text that does not fit, or a worker that failed.
        """
        ...


class TokenCounter(Protocol):
    """Whatever knows a model's tokenizer."""

    async def tokenize(self, model: str, text: str | Sequence[Message]) -> list[int]:
        """Return the token ids of plain text, or of a conversation with its template.

        Raises:
            MalocaError: Unknown model, or a conversation that its template refuses.
        """
        ...


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a caller sees it.

    Attributes:
        kind: "chat" or "embedding".
        state: "ready", "loading", "stored" (on disk, not in memory) or "failed".
        context_length: Tokens, prompt and answer together.
        aliases: Stable names that point to this model.
        created: Unix time at which the model was installed.
    """

    name: str
    kind: str
    state: str
    context_length: int
    aliases: list[str]
    created: int
    runtime: str
    licence: str = ""
    size: int = 0
    dim: int | None = None


class ModelLister(Protocol):
    """Whatever knows which models can be asked for."""

    async def models(self) -> list[ModelInfo]:
        """Return every model of the store, sorted by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer, for callers that do not stream."""

    started: Started
    text: str
    usage: Usage
    finish_reason: str
    timings: Timings


async def collect(events: AsyncGenerator[Event, None]) -> Completion:
    """Join a stream into one answer, and close it, so that its slot is free on return.

    Raises:
        MalocaError: The stream ended in `Failed`, or was cancelled by somebody else.
    """
    started: Started | None = None
    parts: list[str] = []
    usage: Usage | None = None
    async with aclosing(events):
        async for event in events:
            match event:
                case Started():
                    started = event
                case Delta(text):
                    parts.append(text)
                case Usage():
                    usage = event
                case Failed(error):
                    raise error.to_exception()
                case Cancelled(reason):
                    raise Unavailable(f"The generation was stopped: {reason}.", code="cancelled")
                case Done(finish_reason=finish_reason, timings=timings):
                    if started is None or usage is None:
                        break
                    return Completion(
                        started=started,
                        text="".join(parts),
                        usage=usage,
                        finish_reason=finish_reason,
                        timings=timings,
                    )
    raise Unavailable("The stream ended without a terminal event.", code="stream_broken")
