"""A typed client of the engine's native dialect: a `Completer`, `Embedder` and `ModelLister`."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import httpx
import msgspec

from maloca.asgi.request_context import BUDGET_MS, REQUEST_ID
from maloca.client.sse import EventTooLarge, read_events
from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, EmbeddingRequest, Embeddings, ModelInfo
from maloca.core.errors import BudgetExceeded, ErrorInfo, MalocaError, Unavailable
from maloca.core.events import Cancelled, Done, Event, Failed, Started
from maloca.core.messages import Message
from maloca.core.sampling import Sampling

CONNECT_SECONDS: Final = 2.0
POOL_SIZE: Final = 1000
_UNPROCESSABLE: Final = 400

_decode_event = msgspec.json.Decoder(Event).decode
_decode_models = msgspec.json.Decoder(list[ModelInfo]).decode
_encode = msgspec.json.Encoder().encode


class EngineClient:
    """Speaks to one engine over reused connections; close it, or use it in `async with`."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 600.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            url: The engine's base URL.
            token: Its bearer token, if it wants one.
            timeout: Seconds that a request without a budget may take in all.
            transport: Another way to reach the engine, for tests.
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=POOL_SIZE, max_keepalive_connections=100),
            transport=transport,
            # A proxy of the environment is for the internet, not for the engine next door.
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the engine's events; see `Completer.complete`."""
        body = _generate_body(request)
        async with self._stream("/api/llm/generate", body, request.id, request.budget) as response:
            terminal = False
            async for event in self._events(response):
                if terminal:
                    break
                terminal = isinstance(event, Done | Cancelled | Failed)
                yield event
            if not terminal:
                yield Failed(
                    ErrorInfo(
                        message="The engine's stream broke off.",
                        code="stream_broken",
                        status=503,
                        hint="Send the request again.",
                    )
                )

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Return one vector per text; see `Embedder.embed`."""
        body = {"model": request.model, "texts": list(request.texts), "encoding": "base64"}
        found = await self._post("/api/llm/embed", body, request.id, request.budget)
        return Embeddings(
            model=found["model"],
            dim=found["dim"],
            data=base64.b64decode(found["embeddings"]),
            tokens=found["tokens"],
        )

    async def tokenize(self, model: str, text: str | Sequence[Message]) -> list[int]:
        """Return token ids; see `TokenCounter.tokenize`."""
        what = {"text": text} if isinstance(text, str) else {"messages": _turns(text)}
        found = await self._post("/api/llm/tokenize", {"model": model} | what)
        ids: list[int] = found["tokens"]
        return ids

    async def models(self) -> list[ModelInfo]:
        """Return the engine's models."""
        return _decode_models((await self._request("GET", "/api/models")).content)

    async def health(self, timeout: float = 2.0) -> dict[str, Any]:
        """Return what the engine says of itself.

        Raises:
            Unavailable: It cannot be reached within the timeout, in seconds.
        """
        response = await self._request("GET", "/health", timeout=timeout)
        health: dict[str, Any] = response.json()
        return health

    async def _post(
        self, path: str, body: Any, request_id: str | None = None, budget: Budget | None = None
    ) -> dict[str, Any]:
        headers = _headers(request_id, budget)
        response = await self._request("POST", path, content=_encode(body), headers=headers)
        found: dict[str, Any] = msgspec.json.decode(response.content)
        return found

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code >= _UNPROCESSABLE:
            raise _error_of(response.status_code, response.headers, response.content)
        return response

    @asynccontextmanager
    async def _stream(
        self, path: str, body: Any, request_id: str, budget: Budget | None
    ) -> AsyncIterator[httpx.Response]:
        headers = _headers(request_id, budget)
        request = self._http.build_request("POST", path, content=_encode(body), headers=headers)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            if response.status_code >= _UNPROCESSABLE:
                try:
                    content = await response.aread()
                except httpx.HTTPError as error:
                    raise self._unreachable(error) from error
                raise _error_of(response.status_code, response.headers, content)
            yield response
        finally:
            await response.aclose()

    async def _events(self, response: httpx.Response) -> AsyncIterator[Event]:
        """Yield the events of a stream until it ends or breaks, however it breaks."""
        started = False
        try:
            async for data in read_events(response.aiter_raw()):
                event = _decode_event(data)
                started = started or isinstance(event, Started)
                yield event
        except (httpx.HTTPError, msgspec.MsgspecError, EventTooLarge) as error:
            if not started:
                raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> MalocaError:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.ReadTimeout):
            return BudgetExceeded(f"The engine at {self.url} said nothing in time.")
        return Unavailable(
            f"The engine at {self.url} cannot be reached: {reason}.",
            code="engine_unreachable",
            hint="Start it with maloca up, or check MALOCA_ENGINE_URL.",
            retry_after=2.0,
        )


def _headers(request_id: str | None, budget: Budget | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if request_id is not None:
        headers[REQUEST_ID] = request_id
    if budget is not None:
        headers[BUDGET_MS] = str(max(1, budget.remaining_ms))
    return headers


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _generate_body(request: CompletionRequest) -> dict[str, Any]:
    sampling: Sampling = request.sampling
    return {
        "model": request.model,
        "messages": _turns(request.messages),
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


def _error_of(status: int, headers: httpx.Headers, content: bytes) -> MalocaError:
    """Return the engine's own error, so that it reaches the caller as it was."""
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
    return float(header) if header and header.isdigit() else None
