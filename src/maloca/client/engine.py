"""A typed client of the engine's native dialect: a `Completer`, `Embedder` and `ModelLister`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from maloca.client import wire
from maloca.client.sse import EventTooLarge, read_events
from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, EmbeddingRequest, Embeddings, ModelInfo
from maloca.core.errors import BudgetExceeded, ErrorInfo, MalocaError, Unavailable
from maloca.core.events import Cancelled, Done, Event, Failed, Started
from maloca.core.messages import Message

CONNECT_SECONDS: Final = 2.0
POOL_SIZE: Final = 1000
_FIRST_ERROR: Final = 400

_GRACE_SECONDS: Final = 2.0
_DRAIN_SECONDS: Final = 1.0

T = TypeVar("T")


class EngineClient:
    """Speaks to one engine over reused connections; close it, or use it in `async with`."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 600.0,
        connect_timeout: float = CONNECT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            url: The engine's base URL.
            token: Its bearer token, if it wants one.
            timeout: Seconds that a request without a budget may take in all.
            connect_timeout: Seconds to reach the engine.
            transport: Another way to reach the engine, for tests.
        """
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=connect_timeout),
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
        body = wire.generate_body(request)
        stream = self._stream("/api/llm/generate", body, request.id, request.budget)
        async with stream as response, aclosing(self._events(response)) as events:
            async for event in events:
                if isinstance(event, Done | Cancelled | Failed):
                    # Read to its end, so that the connection can be used again.
                    await _drain(events)
                    yield event
                    return
                yield event
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
        content = await self._post("/api/llm/embed", body, request.id, request.budget)
        found = self._read(content, wire.decode_embed)
        return Embeddings(
            model=found.model, dim=found.dim, data=found.embeddings, tokens=found.tokens
        )

    async def tokenize(self, model: str, text: str | Sequence[Message]) -> list[int]:
        """Return token ids; see `TokenCounter.tokenize`."""
        what = {"text": text} if isinstance(text, str) else {"messages": wire.turns_of(text)}
        content = await self._post("/api/llm/tokenize", {"model": model} | what)
        return self._read(content, wire.decode_tokens).tokens

    async def models(self) -> list[ModelInfo]:
        """Return the engine's models."""
        response = await self._request("GET", "/api/models")
        return self._read(response.content, wire.decode_models)

    async def health(self, timeout: float = 2.0) -> dict[str, Any]:
        """Return what the engine says of itself.

        Raises:
            Unavailable: It cannot be reached within the timeout, in seconds.
        """
        response = await self._request("GET", "/health", timeout=timeout)
        return self._read(response.content, wire.decode_health)

    async def _post(
        self, path: str, body: Any, request_id: str | None = None, budget: Budget | None = None
    ) -> bytes:
        response = await self._request(
            "POST",
            path,
            content=wire.encode(body),
            headers=wire.headers_of(request_id, budget),
            timeout=self._patience(budget),
        )
        return response.content

    def _read(self, content: bytes, decode: Callable[[bytes], T]) -> T:
        """Decode an answer; whatever else listens at the URL does not speak like an engine."""
        try:
            return decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"What answers at {self.url} is not an engine of this version: {error}.",
                code="engine_unreachable",
                hint="Check MALOCA_ENGINE_URL, and that engine and server are of one version.",
            ) from error

    def _patience(self, budget: Budget | None) -> httpx.Timeout:
        """Return how long to wait: the engine ends a request in time, unless it hangs itself."""
        seconds = self._timeout if budget is None else budget.remaining_seconds + _GRACE_SECONDS
        return httpx.Timeout(min(seconds, self._timeout), connect=self._connect_timeout)

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code >= _FIRST_ERROR:
            raise wire.error_of(response.status_code, response.headers, response.content)
        return response

    @asynccontextmanager
    async def _stream(
        self, path: str, body: Any, request_id: str, budget: Budget | None
    ) -> AsyncIterator[httpx.Response]:
        request = self._http.build_request(
            "POST",
            path,
            content=wire.encode(body),
            headers=wire.headers_of(request_id, budget),
            timeout=self._patience(budget),
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            if response.status_code >= _FIRST_ERROR:
                try:
                    content = await response.aread()
                except httpx.HTTPError as error:
                    raise self._unreachable(error) from error
                raise wire.error_of(response.status_code, response.headers, content)
            yield response
        finally:
            await response.aclose()

    async def _events(self, response: httpx.Response) -> AsyncGenerator[Event, None]:
        """Yield the events of a stream until it ends or breaks, however it breaks."""
        started = False
        try:
            async for data in read_events(response.aiter_raw()):
                event = wire.decode_event(data)
                started = started or isinstance(event, Started)
                yield event
        except (httpx.HTTPError, msgspec.MsgspecError, UnicodeDecodeError, EventTooLarge) as error:
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


async def _drain(events: AsyncGenerator[Event, None]) -> None:
    """Wait for the end of a stream whose last event has come."""
    with contextlib.suppress(TimeoutError, MalocaError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in events:
                pass
