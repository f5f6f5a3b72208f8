"""An engine that costs nothing: the native dialect, with numbered words at a given pace.

Run as `python -m bench.instant_engine PORT`. The last message of a request says what comes:
`WORDS MILLISECONDS`, the number of words and the pause after each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_MODEL = {
    "name": "instant",
    "kind": "chat",
    "state": "ready",
    "context_length": 100_000,
    "aliases": ["default"],
    "created": 1,
    "runtime": "none",
}
_TIMINGS = {"queue_ms": 0, "ttft_ms": 0, "total_ms": 0, "tokens_per_second": 0}


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ready", "model": "instant"})


async def _models(_: Request) -> Response:
    return JSONResponse([_MODEL])


async def _generate(request: Request) -> Response:
    body = json.loads(await request.body())
    words, _, pause = body["messages"][-1]["content"].partition(" ")
    return StreamingResponse(_events(int(words), float(pause or 0)), media_type="text/event-stream")


async def _events(words: int, pause: float) -> AsyncIterator[bytes]:
    yield _sse(event="started", id="r", model="instant", created=1, prompt_tokens=1)
    for number in range(words):
        yield _sse(event="delta", text=f"{number} ")
        if pause:
            await asyncio.sleep(pause / 1000)
    yield _sse(event="usage", prompt_tokens=1, completion_tokens=words)
    yield _sse(event="done", finish_reason="stop", timings=_TIMINGS)


def _sse(**event: object) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


app = Starlette(
    routes=[
        Route("/health", _health),
        Route("/health/ready", _health),
        Route("/api/models", _models),
        Route("/api/llm/generate", _generate, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
