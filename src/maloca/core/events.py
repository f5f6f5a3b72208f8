"""What a completion says while it happens.

A stream is `Started`, any number of `Delta`, at most one `Usage`, and exactly one terminal
event: `Done`, `Cancelled` or `Failed`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from maloca.core.errors import ErrorInfo

FinishReason = Literal["stop", "length"]


class Skipped(msgspec.Struct, frozen=True):
    """A provider that was asked or passed over before the one that answers, and why."""

    provider: str
    reason: str


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started", tag_field="event"):
    """The request was accepted and waits for its turn.

    Attributes:
        id: The request id.
        model: The model's own name, after aliases.
        created: Unix time in seconds.
        prompt_tokens: Length of the prompt, template included.
        device: Where the model runs, such as `CPU`.
        answered_by: The provider that answers.
        skipped: The providers before it in the chain, and why they did not answer.
    """

    id: str
    model: str
    created: int
    prompt_tokens: int
    device: str = ""
    answered_by: str = "engine"
    skipped: list[Skipped] = []


class Delta(msgspec.Struct, frozen=True, tag="delta", tag_field="event"):
    """More text. Joined in order, the deltas are the answer."""

    text: str


class Usage(msgspec.Struct, frozen=True, kw_only=True, tag="usage", tag_field="event"):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds.

    Attributes:
        queue_ms: From acceptance until the model worker took the request.
        ttft_ms: From acceptance to the first token.
        total_ms: From acceptance to the terminal event.
        tokens_per_second: Decode speed after the first token; 0 for a single token.
    """

    queue_ms: float
    ttft_ms: float
    total_ms: float
    tokens_per_second: float


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done", tag_field="event"):
    """The answer is complete: it ended by itself or by a stop string, or at its length."""

    finish_reason: FinishReason
    timings: Timings


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled", tag_field="event"):
    """Somebody stopped the generation."""

    reason: str = "cancelled by the caller"


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="event"):
    """The generation failed after it was accepted."""

    error: ErrorInfo


Event = Started | Delta | Usage | Done | Cancelled | Failed
Terminal = Done | Cancelled | Failed
