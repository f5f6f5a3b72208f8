"""A small service for the tests of `maloca.asgi.serve`: program.py PORT GRACE [WORD …]."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from maloca.asgi.serve import run
from maloca.core.home import home

PORT, GRACE, *WORDS = sys.argv[1:]


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    if "broken" in WORDS:
        raise RuntimeError("the roof leaks")
    if "stuck" in WORDS:
        sys.stdout.write("stuck\n")
        sys.stdout.flush()
        await asyncio.sleep(3600)
    yield {}
    (home() / "ended").touch()


async def ready(request: Request) -> JSONResponse:
    return JSONResponse({}, 503 if request.app.state.draining else 200)


async def count(request: Request) -> StreamingResponse:
    """Stream numbers; `until=draining` ends a few numbers after the service is told to stop."""
    endless = request.query_params.get("until") != "draining"

    async def numbers() -> AsyncIterator[str]:
        left = 5
        number = 0
        while left:
            yield f"{number}\n"
            number += 1
            await asyncio.sleep(0.05)
            if request.app.state.draining and not endless:
                left -= 1
        yield "end\n"

    return StreamingResponse(numbers())


app = Starlette(routes=[Route("/health/ready", ready), Route("/count", count)], lifespan=lifespan)
app.state.draining = False
sys.exit(
    run(
        app,
        name="engine",
        host="127.0.0.1",
        port=int(PORT),
        grace_seconds=int(GRACE),
        lifeline="lifeline" in WORDS,
    )
)
