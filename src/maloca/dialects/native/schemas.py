"""Bodies of the native routes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from maloca.core.budget import Budget
from maloca.core.completer import Completion, CompletionRequest, Privacy
from maloca.core.messages import Message
from maloca.core.sampling import MAX_NEW_TOKENS, TEMPERATURE, TOP_P, Sampling
from maloca.dialects.fields import (
    MAX_TEXTS,
    Name,
    NewTokens,
    Penalty,
    Seed,
    Stops,
    Strict,
    Temperature,
    Text,
    TopP,
)


class ChatMessage(Strict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class GenerateRequest(Strict):
    """A conversation to continue."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    model: Name = "default"
    stream: bool = False
    max_new_tokens: NewTokens | None = Field(
        default=MAX_NEW_TOKENS, description="null means up to the end of the context."
    )
    temperature: Temperature = TEMPERATURE
    top_p: TopP = TOP_P
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    frequency_penalty: Penalty = 0.0
    presence_penalty: Penalty = 0.0
    stop: Stops = None
    seed: Seed | None = None
    ignore_eos: bool = False
    cache_prompt: bool = True
    provider: Name | None = Field(
        default=None, description="Ask this provider alone; without it, the server's chain."
    )
    privacy: Privacy | None = Field(
        default=None, description="How far the conversation may travel; local-only by default."
    )

    def to_core(self, request_id: str, budget: Budget | None) -> CompletionRequest:
        """Return the request that completers understand."""
        return CompletionRequest(
            id=request_id,
            model=self.model,
            messages=[Message(m.role, m.content) for m in self.messages],
            sampling=Sampling(
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                top_k=self.top_k,
                frequency_penalty=self.frequency_penalty,
                presence_penalty=self.presence_penalty,
                seed=self.seed,
                stop=tuple(self.stop or ()),
                ignore_eos=self.ignore_eos,
            ),
            budget=budget,
            cache_prompt=self.cache_prompt,
            provider=self.provider,
            privacy=self.privacy,
        )


class UsageRead(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TimingsRead(BaseModel):
    """Where the time went."""

    queue_ms: float
    ttft_ms: float
    total_ms: float
    tokens_per_second: float


class GenerateRead(BaseModel):
    """A whole answer."""

    answer: str
    model: str
    tokens_generated: int
    device: str
    answered_by: str
    finish_reason: Literal["stop", "length"]
    usage: UsageRead
    timings: TimingsRead

    @classmethod
    def of(cls, completion: Completion) -> GenerateRead:
        """Return a completion in the native shape."""
        usage, timings = completion.usage, completion.timings
        return cls(
            answer=completion.text,
            model=completion.started.model,
            tokens_generated=usage.completion_tokens,
            device=completion.started.device,
            answered_by=completion.started.answered_by,
            finish_reason=completion.finish_reason,
            usage=UsageRead(
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                total_tokens=usage.total_tokens,
            ),
            timings=TimingsRead(
                queue_ms=timings.queue_ms,
                ttft_ms=timings.ttft_ms,
                total_ms=timings.total_ms,
                tokens_per_second=timings.tokens_per_second,
            ),
        )


class EmbedRequest(Strict):
    """Texts to embed."""

    texts: Annotated[list[Text], Field(max_length=MAX_TEXTS)]
    model: Name = "embedding"
    encoding: Literal["float", "base64"] = Field(
        default="float",
        description="base64 gives all vectors as little-endian float32 in one text.",
    )


class EmbedRead(BaseModel):
    """One unit vector per text, in order."""

    embeddings: list[list[float]] | str
    dim: int
    count: int
    model: str
    tokens: int


class TokenizeRequest(Strict):
    """Plain text, or a conversation with its template; one of the two."""

    text: Text | None = None
    messages: list[ChatMessage] | None = Field(default=None, min_length=1, max_length=10_000)
    model: Name = "default"


class TokenizeRead(BaseModel):
    """Token ids as the model sees them."""

    tokens: list[int]
    count: int
    model: str
