"""`/predict/ws`: prompts in, events out, as messages of JSON.

The client sends the body of `/predict`, and `{"type": "cancel"}` to stop the answer under way. The
server sends the events of `/predict` as a stream: each prompt that it takes up ends in exactly one
of done, cancelled or failed. What it does not take up is answered by `{"event": "error"}`. One
answer is under way at a time. The credential is checked again with each prompt, so that a revoked
one ends here as it does everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import msgspec
import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from maloca.asgi.errors import body_of, defect, response_for
from maloca.core.completer import CompletionRequest
from maloca.core.errors import BodyTooLarge, ErrorInfo, InvalidRequest, MalocaError, Overloaded
from maloca.core.events import Cancelled, Done, Event, Failed, Terminal
from maloca.core.ids import new_id
from maloca.server.accounts.principal import Principal
from maloca.server.inference.dependencies import predict_caller
from maloca.server.inference.meter import Meter
from maloca.server.inference.schemas import PredictRequest
from maloca.server.inference.service import Inference

PATH: Final = "/predict/ws"
_GOING_AWAY: Final = 1001
_POLICY: Final = 1008

_encode = msgspec.json.Encoder().encode

log = structlog.get_logger(__name__)
router = APIRouter(tags=["inference"])


@router.websocket(PATH)
async def predict_socket(websocket: WebSocket) -> None:
    """Answer prompts one after another until the client leaves."""
    try:
        await _caller(websocket)
    except MalocaError as error:
        await websocket.send_denial_response(response_for(PATH, error.info))
        return
    await websocket.accept()
    await _Conversation(websocket).run()


async def _caller(websocket: WebSocket) -> Principal:
    return await predict_caller(websocket, websocket.state.accounts, websocket.state.inference)


class _Conversation:
    """One open socket: reads what the client wants while an answer is under way."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._inference: Inference = websocket.state.inference
        self._limit: int = websocket.state.accounts.settings.max_body_bytes
        self._answer: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve the client until it leaves; what is under way then is cancelled."""
        try:
            while True:
                try:
                    await self._take(await self._websocket.receive_text())
                except MalocaError as error:
                    await self._say({"event": "error", **body_of(error.info)})
        except (WebSocketDisconnect, KeyError, RuntimeError) as error:
            # Starlette raises KeyError for a binary message, and RuntimeError for a socket that
            # was closed from our side meanwhile.
            if isinstance(error, KeyError):
                with contextlib.suppress(RuntimeError):
                    await self._websocket.close(1003, "messages are text")
        finally:
            await self._cancel()

    async def _take(self, text: str) -> None:
        """Do what one message asks for.

        Raises:
            MalocaError: It cannot be done.
        """
        if len(text) > self._limit:
            raise BodyTooLarge(f"The message is over the limit of {self._limit} bytes.")
        try:
            wanted: Any = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidRequest(
                f"The message is not valid JSON: {error}.", code="invalid_json"
            ) from None
        if not isinstance(wanted, dict):
            raise InvalidRequest('The message is not an object such as {"prompt": "…"}.')
        if wanted.get("type") == "cancel":
            await self._cancel()
            return
        if self._answer is not None and not self._answer.done():
            raise Overloaded(
                "An answer is under way on this socket.",
                code="busy",
                hint='Wait for its end, or send {"type": "cancel"}.',
            )
        body = _read(wanted)
        caller = await self._still_welcome()
        if caller is not None:
            self._answer = asyncio.create_task(self._answer_to(body, caller))

    async def _still_welcome(self) -> Principal | None:
        """Return who asks, or close the socket of somebody who may not ask any more."""
        try:
            return await _caller(self._websocket)
        except MalocaError as error:
            await self._say({"event": "error", **body_of(error.info)})
            await self._websocket.close(_POLICY, error.info.code)
            return None

    async def _answer_to(self, body: PredictRequest, caller: Principal) -> None:
        """Send the events of one answer, the last of which ends it."""
        request = body.to_core(new_id(), None)
        meter = self._inference.meter(caller, route=PATH, request_id=request.id)
        ended = False
        last: Terminal
        try:
            with structlog.contextvars.bound_contextvars(request_id=request.id), meter:
                async with aclosing(self._events(request, meter)) as events:
                    async for event in events:
                        ended = isinstance(event, Done | Cancelled | Failed)
                        await self._say(event)
                        if ended:
                            return
        except asyncio.CancelledError:
            last = Cancelled()
        except MalocaError as error:
            last = Failed(error.info)
        except Exception:
            log.exception("unexpected_error_in_socket")
            last = Failed(defect())
        else:
            last = Failed(
                ErrorInfo(
                    message="The stream ended without a terminal event.", code="stream_broken"
                )
            )
        if not ended:
            await self._say(last)

    async def _events(
        self, request: CompletionRequest, meter: Meter
    ) -> AsyncGenerator[Event, None]:
        asker, standing = await self._inference.admit(meter, predict=True)
        if standing is not None and not standing.allowed:
            raise standing.refusal()
        async with aclosing(self._inference.stream(request, asker)) as events:
            async for event in events:
                yield event

    async def _cancel(self) -> None:
        """Stop the answer under way, and wait until it has ended."""
        if self._answer is not None:
            self._answer.cancel()
            await asyncio.gather(self._answer, return_exceptions=True)
            self._answer = None

    async def _say(self, what: Any) -> None:
        """Send one message whole, even if whoever sends it is cancelled meanwhile."""
        await asyncio.shield(asyncio.ensure_future(self._send(_encode(what).decode())))

    async def _send(self, text: str) -> None:
        # A client that has gone hears nothing.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            async with self._sending:
                await self._websocket.send_text(text)


def _read(wanted: dict[str, Any]) -> PredictRequest:
    """Check a prompt.

    Raises:
        InvalidRequest: A field is missing, wrong or unknown.
    """
    if wanted.get("num_return_sequences", 1) != 1:
        raise InvalidRequest("A socket holds one answer at a time.", param="num_return_sequences")
    try:
        return PredictRequest.model_validate(wanted)
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidRequest(f"{param}: {message}"[:300] + ".", param=param) from None
