"""Routes that only the engine has: what it is, and how it is."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

import maloca
from maloca.core.errors import MalocaError
from maloca.dialects.services import ListerDep
from maloca.engine.engine import DEFAULT, EMBEDDING, Engine
from maloca.engine.workers.keeper import WorkerState

router = APIRouter(tags=["operation"])
native = APIRouter(tags=["native"])


class HealthRead(BaseModel):
    """How the engine is. `status` is ready, loading, failed, stopped or no_model."""

    status: str
    model: str | None
    device: str | None
    embedding_model: str | None
    message: str | None = None
    version: str = maloca.__version__


@router.get("/")
async def root() -> dict[str, str]:
    """Say what this is."""
    return {
        "name": "Maloca engine",
        "version": maloca.__version__,
        "docs": "/docs",
        "health": "/api/llm/health",
    }


@native.get("/api/llm/health")
async def llm_health(request: Request) -> HealthRead:
    """Tell which models answer, and where they run."""
    return await _health(request)


@router.get("/health")
async def health(request: Request) -> HealthRead:
    """Tell how the engine is; always 200."""
    return await _health(request)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answer as soon as the process runs."""
    return {"status": "ok"}


@router.get("/health/ready", responses={503: {"model": HealthRead}})
async def ready(request: Request, response: Response) -> HealthRead:
    """Answer 200 only while the default model is loaded and new requests are welcome."""
    found = await _health(request)
    if found.status != WorkerState.READY:
        response.status_code = 503
    return found


async def _health(request: Request) -> HealthRead:
    engine: Engine = request.state.engine
    try:
        chat = await engine.loaded(DEFAULT)
        embedding = await engine.loaded(EMBEDDING)
    except MalocaError as error:
        message = error.info.message
        return HealthRead(
            status="failed", message=message, model=None, device=None, embedding_model=None
        )
    capacity = chat.keeper.capacity if chat else None
    found: dict[str, Any] = {
        "model": chat.model.name if chat else None,
        "device": capacity.device if capacity else None,
        "embedding_model": embedding.model.name if embedding else None,
    }
    if request.app.state.draining:
        return HealthRead(status="stopped", message="The engine is stopping.", **found)
    if (
        chat is None
        and (problem := engine.problems.get(DEFAULT))
        and problem.code == "model_failed"
    ):
        return HealthRead(status="failed", message=f"{problem.message} {problem.hint}", **found)
    if chat is None:
        message = "No default model is loaded: maloca models pull smollm2-135m-instruct."
        return HealthRead(status="no_model", message=message, **found)
    failure = chat.keeper.failure
    return HealthRead(
        status=str(chat.keeper.state), message=failure.message if failure else None, **found
    )


@native.get("/api/models")
async def models(lister: ListerDep) -> list[dict[str, Any]]:
    """List the models of the store, and where each stands."""
    return [msgspec.to_builtins(model) for model in await lister.models()]
