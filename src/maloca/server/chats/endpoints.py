"""The stream behind the page's chat."""

from __future__ import annotations

from fastapi import APIRouter

from maloca.asgi.streaming import EventStream
from maloca.asgi.strict_json import StrictRoute
from maloca.dialects.fields import errors
from maloca.dialects.native.routes import render
from maloca.dialects.native.schemas import GenerateRequest
from maloca.dialects.services import BudgetDep, CompleterDep, RequestId

router = APIRouter(prefix="/chats", tags=["chat"], route_class=StrictRoute)


@router.post(
    "/stream",
    # FastAPI describes a route by its response class's default status, and a stream has none.
    status_code=200,
    response_class=EventStream,
    responses=errors(404, 413, 422, 429, 500, 503, 504)
    | {200: {"content": {"text/event-stream": {}}, "description": "The answer's events."}},
)
async def stream(
    body: GenerateRequest, completer: CompleterDep, request_id: RequestId, budget: BudgetDep
) -> EventStream:
    """Answer a conversation as events: started, delta, usage, then done, cancelled or failed."""
    return EventStream(completer.complete(body.to_core(request_id, budget)), render)
