"""Bodies of OpenAI's routes.

Fields that do not change an answer are accepted; fields that would, and that no runtime here can
honour yet, are refused by name instead of being ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.core.errors import Unsupported
from maloca.core.messages import Message, Role
from maloca.core.sampling import Sampling
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
    no_nul,
)
from maloca.dialects.services import Routing

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
# What each field may hold without asking for anything.
_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "n": (None, 1),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "reasoning_effort": (None, "none"),
}


class TextPart(Strict):
    """A part of a message; only text can be read here."""

    type: Literal["text"]
    text: Text


class ChatMessage(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart] | None = None
    name: Name | None = None
    refusal: None = None

    def to_core(self) -> Message:
        """Return the message with its parts joined."""
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return Message(_ROLES[self.role], text)


class StreamOptions(Strict):
    """What a stream says beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatCompletionRequest(Strict):
    """A conversation to continue, with OpenAI's defaults."""

    model: Name
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: NewTokens | None = None
    max_completion_tokens: NewTokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    stop: Stops = None
    seed: Seed | None = None

    # These change nothing about an answer made on this machine.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    parallel_tool_calls: Any = None
    verbosity: Any = None

    # These would; see _NEUTRAL.
    n: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
    web_search_options: Any = None
    reasoning_effort: Any = None

    @model_validator(mode="after")
    def _refuse_what_cannot_be_done(self) -> Self:
        for field, neutral in _NEUTRAL.items():
            if getattr(self, field) not in neutral:
                raise Unsupported(
                    f"{field} is not supported by this model's runtime.",
                    param=field,
                    hint=f"Leave {field} out.",
                )
        return self

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk that holds the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def to_core(
        self, request_id: str, budget: Budget | None, routing: Routing
    ) -> CompletionRequest:
        """Return the request that completers understand."""
        return CompletionRequest(
            id=request_id,
            model=self.model,
            messages=[message.to_core() for message in self.messages],
            sampling=Sampling(
                max_new_tokens=self.max_completion_tokens or self.max_tokens,
                temperature=1.0 if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                frequency_penalty=self.frequency_penalty or 0.0,
                presence_penalty=self.presence_penalty or 0.0,
                seed=self.seed,
                stop=tuple(self.stop or ()),
            ),
            budget=budget,
            provider=routing.provider,
            privacy=routing.privacy,
        )


def _few_clean_texts(given: str | list[Any]) -> str | list[Any]:
    """Check what is text here; token ids are refused later, with advice."""
    if len(given) > MAX_TEXTS and isinstance(given, list):
        raise ValueError(f"at most {MAX_TEXTS} texts are possible")
    for text in given:
        if isinstance(text, str):
            no_nul(text)
    return given


class EmbeddingsRequest(Strict):
    """Texts to embed."""

    model: Name
    input: Annotated[Text | list[Any], AfterValidator(_few_clean_texts)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=65_536)] | None = None
    user: Any = None
