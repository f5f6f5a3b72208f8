"""`/predict`: a prompt in, answers out; as JSON, or as events."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from maloca.asgi.streaming import EventStream, sse, until_disconnect
from maloca.asgi.strict_json import StrictRoute
from maloca.core.events import Event
from maloca.dialects.fields import errors
from maloca.dialects.services import BudgetDep, RequestId, RoutingDep
from maloca.server.inference.dependencies import InferenceDep, PredictAsker, wants_cache
from maloca.server.inference.predict import predict
from maloca.server.inference.schemas import PredictRead, PredictRequest

_encode = msgspec.json.Encoder().encode
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Answers, or one answer's events."}
}

router = APIRouter(tags=["inference"], route_class=StrictRoute)


def render(event: Event) -> bytes:
    """Return an event as one `data:` line of JSON, which names it."""
    return sse(_encode(event))


@router.post(
    "/predict",
    response_model=PredictRead,
    responses=_STREAM | errors(401, 403, 404, 413, 422, 429, 500, 503, 504),
)
async def predict_route(
    body: PredictRequest,
    request: Request,
    asker: PredictAsker,
    inference: InferenceDep,
    request_id: RequestId,
    budget: BudgetDep,
    routing: RoutingDep,
) -> Any:
    """Answer a prompt; with `stream`, as events: started, delta, usage, then one that ends it."""
    if body.stream:
        wanted = body.to_core(request_id, budget, routing)
        return EventStream(inference.stream(wanted, asker), render)
    answers = predict(
        inference,
        asker,
        body,
        request_id=request_id,
        budget=budget,
        routing=routing,
        use_cache=wants_cache(request),
    )
    found = await until_disconnect(request, answers)
    return Response(found.model_dump_json(), media_type="application/json")
