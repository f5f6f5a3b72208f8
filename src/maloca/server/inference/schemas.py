"""Bodies of `/predict`."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, Field, model_validator

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, Privacy
from maloca.core.ids import new_id
from maloca.core.messages import Message
from maloca.core.sampling import MAX_NEW_TOKENS, MAX_SEED, TEMPERATURE, TOP_P, Sampling
from maloca.dialects.fields import Name, NewTokens, Seed, Stops, Strict, Temperature, Text, TopP
from maloca.dialects.native.schemas import UsageRead
from maloca.dialects.services import Routing

MAX_SEQUENCES: Final = 8


class PredictRequest(Strict):
    """A prompt to answer: it becomes one message of a conversation."""

    prompt: Annotated[Text, Field(min_length=1)]
    model: Name = "default"
    max_length: NewTokens = Field(default=MAX_NEW_TOKENS, description="New tokens at most.")
    num_return_sequences: Annotated[int, Field(ge=1, le=MAX_SEQUENCES)] = 1
    temperature: Temperature = TEMPERATURE
    top_p: TopP = TOP_P
    stop: Stops = None
    seed: Seed | None = Field(
        default=None, description="Repeats answers; each further sequence takes the next seed."
    )
    stream: bool = False
    provider: Name | None = Field(default=None, description="Ask this provider alone.")
    privacy: Privacy | None = Field(
        default=None, description="cloud-allowed lets the prompt leave, if the owner does too."
    )

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if self.stream and self.num_return_sequences > 1:
            raise ValueError("a stream holds one answer: num_return_sequences must be 1")
        return self

    @property
    def is_greedy(self) -> bool:
        """Whether every sequence would be the same."""
        return self.temperature == 0

    def to_core(
        self,
        request_id: str,
        budget: Budget | None,
        routing: Routing | None = None,
        *,
        sequence: int = 0,
    ) -> CompletionRequest:
        """Return the request for one sequence, counted from 0.

        `routing` is what the headers say of who may answer; the body's own word comes first.
        """
        routing = routing or Routing()
        seed = None if self.seed is None else (self.seed + sequence) & MAX_SEED
        return CompletionRequest(
            id=request_id if sequence == 0 else new_id(),
            model=self.model,
            messages=[Message("user", self.prompt)],
            sampling=Sampling(
                max_new_tokens=self.max_length,
                temperature=self.temperature,
                top_p=self.top_p,
                seed=seed,
                stop=tuple(self.stop or ()),
            ),
            budget=budget,
            provider=self.provider or routing.provider,
            privacy=self.privacy or routing.privacy,
        )


class PredictRead(BaseModel):
    """The answers.

    `cached` says that no model worked for them this time; `usage` counts what models read and
    wrote when they did, all sequences together.
    """

    responses: list[str]
    model: str
    answered_by: str
    cached: bool
    usage: UsageRead
