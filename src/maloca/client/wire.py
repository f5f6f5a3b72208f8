"""The engine's native dialect, seen from the client: bodies, headers, answers and errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec

from maloca.asgi.request_context import BUDGET_MS, REQUEST_ID
from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, ModelInfo
from maloca.core.errors import ErrorInfo, MalocaError, Unavailable
from maloca.core.events import Event
from maloca.core.messages import Message
from maloca.core.sampling import Sampling

_SECONDS: Final = re.compile("[0-9]{1,6}")
_REFUSES_US: Final = frozenset({401, 403})


class EmbedRead(msgspec.Struct):
    """Vectors as little-endian float32, all in one text of base64."""

    model: str
    dim: int
    embeddings: bytes
    tokens: int


class TokenizeRead(msgspec.Struct):
    """Token ids."""

    tokens: list[int]


encode = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode
decode_models = msgspec.json.Decoder(list[ModelInfo]).decode
decode_embed = msgspec.json.Decoder(EmbedRead).decode
decode_tokens = msgspec.json.Decoder(TokenizeRead).decode
decode_health = msgspec.json.Decoder(dict[str, Any]).decode


def headers_of(request_id: str | None, budget: Budget | None) -> dict[str, str]:
    """Return the headers that carry a request's id and remaining time."""
    headers = {"Content-Type": "application/json"}
    if request_id is not None:
        headers[REQUEST_ID] = request_id
    if budget is not None:
        headers[BUDGET_MS] = str(max(1, budget.remaining_ms))
    return headers


def turns_of(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return messages as the dialect spells them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def generate_body(request: CompletionRequest) -> dict[str, Any]:
    """Return the body that asks for a stream."""
    sampling: Sampling = request.sampling
    return {
        "model": request.model,
        "messages": turns_of(request.messages),
        "stream": True,
        "max_new_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "stop": list(sampling.stop),
        "seed": sampling.seed,
        "ignore_eos": sampling.ignore_eos,
        "cache_prompt": request.cache_prompt,
    }


def error_of(status: int, headers: httpx.Headers, content: bytes) -> MalocaError:
    """Return the engine's own error, so that it reaches the caller as it was."""
    if status in _REFUSES_US:
        # The caller's own credentials are in order; ours are not.
        return Unavailable(
            f"The engine does not accept this server ({status}).",
            code="engine_refuses",
            hint="Give both the same MALOCA_ENGINE_TOKEN, and the engine this server's address "
            "for it in MALOCA_ALLOWED_HOSTS.",
        )
    try:
        error = msgspec.json.decode(content)["error"]
        info = ErrorInfo(
            message=str(error["message"]),
            type=str(error["type"]),
            code=str(error["code"]),
            status=status,
            param=error.get("param"),
            hint=error.get("hint"),
            retry_after=_seconds(headers.get("Retry-After")),
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
        info = ErrorInfo(
            message=f"The engine answered {status} without saying why.",
            code="engine_error",
            status=status if status >= 500 else 502,  # noqa: PLR2004 - a server error stays one
        )
    return info.to_exception()


def _seconds(header: str | None) -> float | None:
    return float(header) if header and _SECONDS.fullmatch(header) else None
