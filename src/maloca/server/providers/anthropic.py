"""Anthropic's messages API.

Source: the API reference of messages and of streaming, https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final, Literal

import httpx
from pydantic import SecretStr

from maloca.core.completer import CompletionRequest
from maloca.core.errors import InvalidRequest
from maloca.core.events import Event, FinishReason
from maloca.core.messages import Message
from maloca.server.providers.answer import Answer
from maloca.server.providers.base import ProviderFailed
from maloca.server.providers.upstream import Upstream

ANTHROPIC_URL: Final = "https://api.anthropic.com"
VERSION: Final = "2023-06-01"
# The API needs a limit; this is what an open-ended answer gets.
OPEN_ENDED_TOKENS: Final = 4096
_MAX_STOPS: Final = 16
_FINISH: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}
# HTTP statuses of the errors that may come inside a stream.
_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class AnthropicProvider:
    """Streams messages."""

    name: Literal["anthropic"] = "anthropic"

    def __init__(
        self,
        *,
        key: SecretStr,
        model: str,
        base_url: str = ANTHROPIC_URL,
        sampling: bool = False,
        connect_timeout: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            key: The API key.
            model: The model to ask for.
            base_url: Up to, and without, `/v1/messages`.
            sampling: Whether to send the temperature, which current models refuse.
            connect_timeout: Seconds to reach it.
            transport: Another way to reach it, for tests.
        """
        self.model = model
        self._key = key
        self._sampling = sampling
        self._upstream = Upstream(
            self.name,
            base_url,
            secret=key,
            headers={"x-api-key": key.get_secret_value(), "anthropic-version": VERSION},
            connect_timeout=connect_timeout,
            transport=transport,
        )
        self.local = self._upstream.local

    @property
    def secret(self) -> str | None:
        """The key in force."""
        return self._key.get_secret_value()

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the service's answer as events; see `Completer.complete`."""
        answer = Answer(request)
        ended = False
        messages = self._upstream.stream("/v1/messages", self._body(request))
        async with aclosing(messages):
            async for message in messages:
                for event in self._read(message, answer):
                    yield event
                ended = ended or message.get("type") == "message_stop"
                if answer.stopped or ended:
                    break
        if not answer.stopped and (not ended or answer.finish_reason is None):
            raise ProviderFailed(f"The stream of {self.name} broke off.", code="stream_broken")
        for event in answer.end():
            yield event

    async def check(self) -> None:
        """List the service's models, which costs nothing; see `Provider.check`."""
        await self._upstream.get("/v1/models")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._upstream.aclose()

    def _body(self, request: CompletionRequest) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sampling.max_new_tokens or OPEN_ENDED_TOKENS,
            "messages": [_turn(m) for m in request.messages if m.role != "system" and m.content],
            "stream": True,
        }
        system = [m.content for m in request.messages if m.role == "system" and m.content]
        if system:
            body["system"] = "\n\n".join(system)
        if self._sampling:
            # Its temperature ends at 1, and newer models refuse top_p beside it.
            body["temperature"] = min(sampling.temperature, 1.0)
        # It refuses stop sequences of white space alone; those are cut here.
        stops = [stop for stop in sampling.stop if stop.strip()][:_MAX_STOPS]
        if stops:
            body["stop_sequences"] = stops
        return body

    def _read(self, message: dict[str, Any], answer: Answer) -> Iterator[Event]:
        """Yield what one event of the stream says; pings and unknown ones say nothing."""
        match message:
            case {"type": "error"}:
                error = message.get("error")
                kind = error.get("type") if isinstance(error, dict) else None
                raise self._upstream.error_in(message, _STATUS.get(str(kind), 502))
            case {"type": "message_start", "message": dict(head)}:
                _count(head.get("usage"), answer)
                yield from answer.start(str(head.get("model") or self.model))
            case {
                "type": "content_block_delta",
                "delta": {"type": "text_delta", "text": str(text)},
            }:
                yield from answer.start(self.model)
                yield from answer.add(text)
            case {"type": "message_delta", "delta": dict(delta)}:
                _count(message.get("usage"), answer)
                self._finish(delta.get("stop_reason"), answer)

    def _finish(self, reason: Any, answer: Answer) -> None:
        if reason == "refusal" and answer.is_empty:
            raise InvalidRequest(
                f"{self.name} does not answer this conversation: the model refused it.",
                code="content_filtered",
                param="messages",
            )
        if isinstance(reason, str):
            answer.finish_reason = _FINISH.get(reason, "stop")


def _turn(message: Message) -> dict[str, str]:
    role = "assistant" if message.role == "assistant" else "user"
    return {"role": role, "content": message.content}


def _count(usage: Any, answer: Answer) -> None:
    """Take token counts; what was read from its cache counts as read."""
    if not isinstance(usage, dict):
        return
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    parts = [usage[name] for name in names if isinstance(usage.get(name), int)]
    answer.count(sum(parts) if "input_tokens" in usage else None, usage.get("output_tokens"))
