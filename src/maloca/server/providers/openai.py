"""Any service that speaks OpenAI's chat completions: OpenAI, Azure, vLLM, a router.

Source: the API reference of chat completions, https://platform.openai.com/docs/api-reference/chat.
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
from maloca.server.providers.answer import Answer
from maloca.server.providers.base import ProviderFailed
from maloca.server.providers.upstream import Upstream

OPENAI_URL: Final = "https://api.openai.com/v1"
_OPENAI_HOST: Final = "api.openai.com"
_MAX_STOPS: Final = 4
_FINISH: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "stop",
    "function_call": "stop",
    "content_filter": "stop",
}
# HTTP statuses of the errors that may come inside a stream.
_STATUS: Final = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "invalid_api_key": 401,
}

Auth = Literal["bearer", "api-key"]


class OpenAIProvider:
    """Streams chat completions from one base URL."""

    name: Literal["openai"] = "openai"

    def __init__(
        self,
        *,
        base_url: str = OPENAI_URL,
        key: SecretStr | None,
        model: str,
        auth: Auth = "bearer",
        sampling: bool | None = None,
        connect_timeout: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            base_url: Up to, and without, `/chat/completions`; a query such as Azure's
                `?api-version=…` is kept.
            key: None for a service that wants none.
            model: The model to ask for.
            auth: "bearer" sends `Authorization: Bearer`, "api-key" Azure's `api-key`.
            sampling: Whether to send temperature, top_p and penalties; None sends them to
                everybody but OpenAI, whose current models refuse them.
            connect_timeout: Seconds to reach it.
            transport: Another way to reach it, for tests.
        """
        self.model = model
        self._key = key
        self._is_openai = httpx.URL(base_url).host == _OPENAI_HOST
        self._sampling = not self._is_openai if sampling is None else sampling
        headers = {}
        if key is not None:
            secret = key.get_secret_value()
            if auth == "bearer":
                headers["Authorization"] = f"Bearer {secret}"
            else:
                headers["api-key"] = secret
        self._upstream = Upstream(
            self.name,
            base_url,
            secret=key,
            headers=headers,
            connect_timeout=connect_timeout,
            transport=transport,
        )
        self.local = self._upstream.local

    @property
    def secret(self) -> str | None:
        """The key in force."""
        return self._key.get_secret_value() if self._key else None

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the service's answer as events; see `Completer.complete`."""
        answer = Answer(request)
        chunks = self._upstream.stream("/chat/completions", self._body(request))
        async with aclosing(chunks):
            async for chunk in chunks:
                for event in self._read(chunk, answer):
                    yield event
                if answer.stopped:
                    break
        if not answer.stopped and answer.finish_reason is None:
            raise ProviderFailed(f"The stream of {self.name} broke off.", code="stream_broken")
        for event in answer.end():
            yield event

    async def check(self) -> None:
        """List the service's models, which costs nothing; see `Provider.check`."""
        await self._upstream.get("/models")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._upstream.aclose()

    def _body(self, request: CompletionRequest) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "user" if m.role == "tool" else m.role, "content": m.content}
                for m in request.messages
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.max_new_tokens is not None:
            # OpenAI's reasoning models know only the new name, many other servers only the old.
            name = "max_completion_tokens" if self._is_openai else "max_tokens"
            body[name] = sampling.max_new_tokens
        if self._sampling:
            body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
            if sampling.frequency_penalty:
                body["frequency_penalty"] = sampling.frequency_penalty
            if sampling.presence_penalty:
                body["presence_penalty"] = sampling.presence_penalty
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop and self._sampling:
            # More than these, and those of models that refuse them, are cut here.
            body["stop"] = list(sampling.stop[:_MAX_STOPS])
        return body

    def _read(self, chunk: dict[str, Any], answer: Answer) -> Iterator[Event]:
        """Yield what one chunk says."""
        if "error" in chunk:
            raise self._upstream.error_in(chunk, _status_of(chunk["error"]))
        model = chunk.get("model")
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            answer.count(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        choices = chunk.get("choices")
        # Azure begins with a chunk that has no choices.
        if not isinstance(choices, list) or not choices:
            return
        choice = choices[0] if isinstance(choices[0], dict) else {}
        yield from answer.start(model if isinstance(model, str) and model else self.model)
        delta = choice.get("delta")
        if isinstance(delta, dict):
            for text in (delta.get("content"), delta.get("refusal")):
                if isinstance(text, str) and text:
                    yield from answer.add(text)
        finish = choice.get("finish_reason")
        if finish == "content_filter" and answer.is_empty:
            raise InvalidRequest(
                f"{self.name} does not answer this conversation: its content filter refused it.",
                code="content_filtered",
                param="messages",
            )
        if isinstance(finish, str):
            answer.finish_reason = _FINISH.get(finish, "stop")


def _status_of(error: Any) -> int:
    """Return the HTTP status of an error inside a stream, which only some services tell."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 600:  # noqa: PLR2004 - HTTP's errors
        return code
    return _STATUS.get(str(code), 502)
