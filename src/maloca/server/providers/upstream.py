"""One cloud service over HTTP: reused connections, no retries, and errors without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
from pydantic import SecretStr

from maloca.client.sse import EventTooLarge, read_events
from maloca.core.errors import (
    BudgetExceeded,
    ContextLengthExceeded,
    ErrorInfo,
    MalocaError,
    Overloaded,
    Unavailable,
)
from maloca.core.settings import is_loopback
from maloca.server.providers.base import KeyRefused, ProviderFailed

POOL_SIZE: Final = 200
MAX_ERROR_BYTES: Final = 64 * 1024
_SHOWN_ERROR: Final = 300
_FIRST_ERROR: Final = 400
_KEY_STATUSES: Final = frozenset({401, 403})
_TOO_MANY_REQUESTS: Final = 429
_FIRST_SERVER_ERROR: Final = 500
_SERVER_ERRORS: Final = frozenset({500, 502, 503, 504})
_DONE: Final = b"[DONE]"
_LAST: Final = "message_stop"
_DRAIN_SECONDS: Final = 1.0
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Upstream:
    """Speaks to the service that the owner named; nothing of a request chooses where to."""

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        secret: SecretStr | None,
        headers: dict[str, str],
        connect_timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            name: How errors call the service.
            base_url: Its URL up to, and without, the route; a query is kept.
            secret: The key that no error may show.
            headers: Sent with every request; they carry the key.
            connect_timeout: Seconds to reach it.
            transport: Another way to reach it, for tests.
        """
        self.name = name
        self._secret = secret
        self._base = httpx.URL(base_url)
        self.local = is_loopback(self._base.host)
        self._http = httpx.AsyncClient(
            # Compressed events would wait in the compressor's window.
            headers={"Accept-Encoding": "identity"} | headers,
            timeout=httpx.Timeout(None, connect=connect_timeout),
            limits=httpx.Limits(max_connections=POOL_SIZE, max_keepalive_connections=20),
            transport=transport,
            # A proxy of the environment is for the internet, not for the machine itself.
            trust_env=not self.local,
            # A redirect would carry the conversation where the owner did not send it.
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, route: str, timeout: float = 10.0) -> None:
        """Send a request that costs nothing, to see whether the service answers.

        Raises:
            MalocaError: It does not, or refuses.
        """
        try:
            response = await self._http.get(self._url(route), timeout=timeout)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code >= _FIRST_ERROR:
            raise self._error_of(response, response.content[:MAX_ERROR_BYTES])

    async def stream(self, route: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Post a body and yield the JSON of each server-sent event up to the last.

        `[DONE]` is the last at OpenAI, `message_stop` at Anthropic.

        Raises:
            MalocaError: The service refused, or its stream broke.
        """
        async with self._response(route, body) as response:
            events = read_events(response.aiter_bytes())
            try:
                async for data in events:
                    if data == _DONE:
                        await _drain(events)
                        return
                    found = _decode(data)
                    if found.get("type") == _LAST:
                        await _drain(events)
                        yield found
                        return
                    yield found
            except httpx.HTTPError as error:
                raise self._unreachable(error) from None
            except (msgspec.MsgspecError, UnicodeDecodeError, EventTooLarge):
                raise ProviderFailed(
                    f"{self.name} sent what is not a stream of JSON events.",
                    code="stream_malformed",
                ) from None

    def error_in(self, found: Any, status: int) -> MalocaError:
        """Return the error that a service put into its answer or its stream."""
        error = found.get("error") if isinstance(found, dict) else None
        detail = error if isinstance(error, dict) else {"message": error}
        return self._error(status, detail, retry_after=None)

    @asynccontextmanager
    async def _response(self, route: str, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        request = self._http.build_request(
            "POST",
            self._url(route),
            content=_encode(body),
            headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        try:
            if not response.is_success:
                raise self._error_of(response, await self._beginning(response))
            yield response
        finally:
            await response.aclose()

    async def _beginning(self, response: httpx.Response) -> bytes:
        """Return the first bytes of an error's body."""
        body = b""
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ERROR_BYTES:
                    break
        except httpx.HTTPError:
            pass  # The status says enough.
        return body[:MAX_ERROR_BYTES]

    def _url(self, route: str) -> httpx.URL:
        return self._base.copy_with(path=self._base.path.rstrip("/") + route)

    def _error_of(self, response: httpx.Response, body: bytes) -> MalocaError:
        try:
            found = _decode(body).get("error")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found = None
        detail = found if isinstance(found, dict) else {"message": found}
        wait = _retry_after(response.headers.get("Retry-After"))
        return self._error(response.status_code, detail, retry_after=wait)

    def _error(
        self, status: int, detail: dict[str, Any], *, retry_after: float | None
    ) -> MalocaError:
        said = detail.get("message")
        message = self._clean(said) if isinstance(said, str) and said else "it did not say why"
        code = detail.get("code") or detail.get("type")
        if status in _KEY_STATUSES:
            # What the service says here may quote a part of the key.
            return KeyRefused(
                f"{self.name} does not accept this server's key ({status}).",
                hint="Whoever runs this server sets another key and reloads the providers.",
            )
        if status == _TOO_MANY_REQUESTS:
            return Overloaded(
                f"{self.name} is at its limit: {message}.", retry_after=retry_after, code="limited"
            )
        if status >= _FIRST_SERVER_ERROR or status < _FIRST_ERROR:
            error = ProviderFailed(f"{self.name} failed ({status}): {message}.")
            own = status if status in _SERVER_ERRORS else error.status
            error.info = msgspec.structs.replace(error.info, status=own, retry_after=retry_after)
            return error
        if code == "context_length_exceeded":
            return ContextLengthExceeded(f"{self.name}: {message}.", param="messages")
        param = detail.get("param")
        return ErrorInfo(
            message=f"{self.name} refused the request: {message}.",
            type="invalid_request_error",
            code=code if isinstance(code, str) and _CODE.fullmatch(code) else "refused",
            status=status,
            param=self._clean(param) if isinstance(param, str) else None,
        ).to_exception()

    def _unreachable(self, error: httpx.HTTPError) -> MalocaError:
        kind = type(error).__name__
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
            return BudgetExceeded(f"{self.name} said nothing in time.", code="provider_timeout")
        return Unavailable(
            f"{self.name} cannot be reached ({kind}).", code="provider_unreachable", retry_after=5.0
        )

    def _clean(self, text: str) -> str:
        """Return a service's own words: short, on one line, and without the key."""
        if self._secret is not None:
            text = text.replace(self._secret.get_secret_value(), "(hidden)")
        line = " ".join(text.split()).rstrip(".")
        return line if len(line) <= _SHOWN_ERROR else line[:_SHOWN_ERROR] + "…"


async def _drain(events: AsyncIterator[bytes]) -> None:
    """Read a stream to its end after its last event, so that the connection can be used again."""
    with contextlib.suppress(TimeoutError, httpx.HTTPError, EventTooLarge):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in events:
                pass


def _retry_after(header: str | None) -> float | None:
    """Return seconds from either form of Retry-After (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if _SECONDS.fullmatch(header):
        return float(header)
    try:
        then = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())
