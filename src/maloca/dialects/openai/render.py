"""Core events and results in OpenAI's shapes."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from maloca.asgi.errors import body_of
from maloca.asgi.streaming import sse
from maloca.core.completer import Completion, Embeddings, ModelInfo
from maloca.core.errors import ErrorInfo
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Started, Usage

DONE: Final = b"data: [DONE]\n\n"
_FLOAT_BYTES: Final = 4

_encode = msgspec.json.Encoder().encode


class ChatChunks:
    """Renders one completion as `chat.completion.chunk` events."""

    def __init__(self, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._head: dict[str, Any] = {}
        self._usage: dict[str, int] | None = None

    def __call__(self, event: Event) -> bytes:
        """Return the chunks of one event."""
        match event:
            case Started():
                self._head = {
                    "id": f"chatcmpl-{event.id}",
                    "object": "chat.completion.chunk",
                    "created": event.created,
                    "model": event.model,
                }
                return self._chunk({"role": "assistant", "content": ""})
            case Delta(text):
                return self._chunk({"content": text})
            case Usage():
                self._usage = usage_of(event)
                return b""
            case Done(finish_reason=reason):
                return self._chunk({}, reason) + self._usage_chunk()
            case Failed(error):
                return sse(_encode(body_of(error)))
            case Cancelled(reason):
                message = f"The generation was stopped: {reason}."
                return sse(_encode(body_of(ErrorInfo(message=message, code="cancelled"))))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._head | {"choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        return sse(_encode(chunk))

    def _usage_chunk(self) -> bytes:
        if not self._include_usage:
            return b""
        return sse(_encode(self._head | {"choices": [], "usage": self._usage}))


def completion_of(completion: Completion) -> dict[str, Any]:
    """Return a whole answer as a `chat.completion`."""
    message = {"role": "assistant", "content": completion.text, "refusal": None}
    return {
        "id": f"chatcmpl-{completion.started.id}",
        "object": "chat.completion",
        "created": completion.started.created,
        "model": completion.started.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": completion.finish_reason,
            }
        ],
        "usage": usage_of(completion.usage),
    }


def usage_of(usage: Usage) -> dict[str, int]:
    """Return token counts under OpenAI's names."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def embeddings_of(found: Embeddings, encoding_format: str) -> dict[str, Any]:
    """Return vectors as a list of `embedding` objects."""
    vectors: list[Any]
    if encoding_format == "base64":
        size = found.dim * _FLOAT_BYTES
        rows = (found.data[i : i + size] for i in range(0, len(found.data), size))
        vectors = [base64.b64encode(row).decode() for row in rows]
    else:
        vectors = list(found.vectors)
    return {
        "object": "list",
        "model": found.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
    }


def models_of(models: list[ModelInfo]) -> dict[str, Any]:
    """Return models, aliases first, as a list of `model` objects."""
    aliases = [(alias, model) for model in models for alias in model.aliases]
    named = [*sorted(aliases, key=lambda pair: pair[0]), *((model.name, model) for model in models)]
    return {"object": "list", "data": [model_of(name, model) for name, model in named]}


def model_of(name: str, model: ModelInfo) -> dict[str, Any]:
    """Return one model object under the name by which it can be asked for."""
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "maloca",
        "maloca": {
            "model": model.name,
            "kind": model.kind,
            "state": model.state,
            "context_length": model.context_length,
            "licence": model.licence,
        },
    }
