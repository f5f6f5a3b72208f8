"""A server that speaks the page's contract and does exactly what a test scripts.

It produces on demand what a real engine cannot: a connection cut in the middle, a stream that
never ends, an engine that goes away and comes back, an answer made of hostile markup.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from maloca.asgi.headers import SecurityHeaders

MODEL = "scripted-1b"
TIMINGS = {"queue_ms": 1.0, "ttft_ms": 54.6, "total_ms": 900.0, "tokens_per_second": 86.4}


@dataclass
class Reply:
    """How one request is answered.

    Attributes:
        text: The answer.
        pieces: In how many deltas it comes, None for one for each character.
        pause: Seconds between deltas.
        hold: Stop after the text until the client goes away.
        cut: Close the connection after the text, without a terminal event.
        refuse: Status and error of a refusal.
        fail: An error event after the text.
        finish_reason: Why the answer ends.
        tokens: Reported as usage.
    """

    text: str = "Hola."
    pieces: int | None = 3
    pause: float = 0.0
    hold: bool = False
    cut: bool = False
    refuse: tuple[int, dict[str, Any]] | None = None
    fail: dict[str, Any] | None = None
    finish_reason: str = "stop"
    tokens: int = 42


def error(code: str, *, status: int = 503, **fields: Any) -> dict[str, Any]:
    """Return an error as it travels."""
    kind = "invalid_request_error" if status < 429 else "server_error"
    return {"message": f"scripted {code}", "type": kind, "code": code, "status": status} | fields


@dataclass
class Script:
    """What the server does, and what it saw.

    Attributes:
        replies: Taken one for each request; then `default`.
        engine: What /health says of the engine.
        requests: Bodies of the chat requests, in order.
        closed: The questions of those requests whose client went away before the end.
    """

    replies: deque[Reply] = field(default_factory=deque)
    default: Reply = field(default_factory=Reply)
    engine: str = "ready"
    models: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Forget the last test."""
        self.replies.clear()
        self.default = Reply()
        self.engine = "ready"
        self.models = [listed("default"), listed(MODEL), listed("mini", "embedding")]
        self.requests.clear()
        self.closed.clear()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until the server has seen something; fail after ten seconds."""
        async with asyncio.timeout(10):
            # The server lives in another thread and loop, so it is asked again and again.
            while not seen():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    def answer(self, *replies: Reply) -> None:
        """Answer the next requests so."""
        self.replies.extend(replies)


def listed(name: str, kind: str = "chat", *, model: str | None = None) -> dict[str, Any]:
    """Return a model as /v1/models lists it."""
    own = model or (MODEL if kind == "chat" else name)
    return {"id": name, "object": "model", "maloca": {"model": own, "kind": kind}}


def _event(name: str, **fields: Any) -> bytes:
    data = json.dumps({"event": name, **fields}, ensure_ascii=False)
    return f"event: {name}\ndata: {data}\n\n".encode()


def _pieces(reply: Reply) -> Iterator[str]:
    count = len(reply.text) if reply.pieces is None else reply.pieces
    size = max(1, -(-len(reply.text) // max(count, 1)))
    return (reply.text[i : i + size] for i in range(0, len(reply.text), size))


async def _events(reply: Reply) -> AsyncIterator[bytes]:
    yield b": keep-alive\n\n"
    facts = {"created": 0, "prompt_tokens": 12, "answered_by": "engine"}
    yield _event("started", id="r1", model=MODEL, **facts)
    for piece in _pieces(reply):
        yield _event("delta", text=piece)
        await asyncio.sleep(reply.pause)
    if reply.hold:
        await asyncio.Event().wait()
    if reply.cut:
        # A browser drops what it has not read yet when the connection breaks.
        await asyncio.sleep(0.2)
        return
    if reply.fail:
        yield _event("failed", error=reply.fail)
        return
    yield _event("usage", prompt_tokens=12, completion_tokens=reply.tokens)
    yield _event("done", finish_reason=reply.finish_reason, timings=TIMINGS)


class _Stream(Response):
    """A scripted stream. A cut one never ends its body, so uvicorn closes the connection."""

    def __init__(self, script: Script, question: str, reply: Reply) -> None:
        super().__init__(media_type="text/event-stream")
        self._question = question
        self._script = script
        self._reply = reply

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._write(send))
        gone = asyncio.ensure_future(self._gone(receive))
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            self._script.closed.append(self._question)
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for piece in _events(self._reply):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not self._reply.cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


def create_app(script: Script, page: Path) -> FastAPI:
    """Return the app that serves the built page and follows the script."""

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def health(_: Request) -> Response:
        up = script.engine == "ready"
        engine = {"status": script.engine, "model": MODEL if up else None, "message": None}
        status = "ok" if up else "degraded"
        return JSONResponse({"status": status, "version": "0.0.0", "engine": engine})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": script.models})

    async def stream(request: Request) -> Response:
        body = await request.json()
        script.requests.append(body)
        reply = script.replies.popleft() if script.replies else script.default
        if reply.refuse:
            status, info = reply.refuse
            return JSONResponse({"error": info}, status_code=status)
        return _Stream(script, body["messages"][-1]["content"], reply)

    app = FastAPI(title="Scripted server", openapi_url=None)
    app.add_middleware(SecurityHeaders)
    app.add_route("/health", health)
    app.add_route("/health/ready", ready)
    app.add_route("/v1/models", models)
    app.add_route("/chats/stream", stream, methods=["POST"])
    app.mount("/", StaticFiles(directory=page, html=True))
    return app
