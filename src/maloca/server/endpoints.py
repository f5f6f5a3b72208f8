"""How the server is, and how the engine behind it is."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

import maloca
from maloca.client.engine import EngineClient
from maloca.core.errors import MalocaError

router = APIRouter(tags=["operation"])


class EngineHealth(BaseModel):
    """The engine, seen from here."""

    status: Literal["ready", "loading", "down"]
    model: str | None = None
    message: str | None = None


class HealthRead(BaseModel):
    """How the server is; degraded means that it runs and the engine does not answer."""

    status: Literal["ok", "degraded"]
    version: str
    engine: EngineHealth


class ReadyRead(BaseModel):
    """Whether new requests are welcome."""

    status: Literal["ready", "stopping"]
    message: str | None = None


@router.get("/health")
async def health(request: Request) -> HealthRead:
    """Tell how the server and its engine are; always 200."""
    engine = await _engine_health(request.state.engine)
    status: Literal["ok", "degraded"] = "ok" if engine.status == "ready" else "degraded"
    return HealthRead(status=status, version=maloca.__version__, engine=engine)


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Answer as soon as the process runs."""
    return {"status": "ok"}


@router.get("/health/ready", responses={503: {"model": ReadyRead}})
async def ready(request: Request, response: Response) -> ReadyRead:
    """Answer 200 while requests are welcome; a dead engine does not change that."""
    if request.app.state.draining:
        response.status_code = 503
        return ReadyRead(status="stopping", message="The server is stopping.")
    return ReadyRead(status="ready")


async def _engine_health(client: EngineClient) -> EngineHealth:
    try:
        found: dict[str, Any] = await client.health()
    except MalocaError as error:
        return EngineHealth(status="down", message=error.info.message)
    status = {"ready": "ready", "loading": "loading"}.get(str(found.get("status")), "down")
    return EngineHealth.model_validate(
        {"status": status, "model": found.get("model"), "message": found.get("message")}
    )
