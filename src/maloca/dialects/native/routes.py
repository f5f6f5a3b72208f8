"""`/api/llm/…`: generate, embed, tokenize."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from maloca.asgi.streaming import EventStream, sse, until_disconnect
from maloca.asgi.strict_json import StrictRoute
from maloca.core.completer import EmbeddingRequest, collect
from maloca.core.errors import EmptyInput, InvalidRequest
from maloca.core.events import Event, Failed
from maloca.core.messages import Message
from maloca.dialects.fields import errors
from maloca.dialects.native.schemas import (
    EmbedRead,
    EmbedRequest,
    GenerateRead,
    GenerateRequest,
    TokenizeRead,
    TokenizeRequest,
)
from maloca.dialects.services import (
    BudgetDep,
    CompleterDep,
    EmbedderDep,
    RequestId,
    TokenCounterDep,
)

_encoder = msgspec.json.Encoder()
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {}}, "description": "An answer, or its events."}
}

router = APIRouter(prefix="/api/llm", tags=["native"], route_class=StrictRoute)


def render(event: Event) -> bytes:
    """Return an event as the native dialect streams it: named, with its own JSON."""
    name = "failed" if isinstance(event, Failed) else type(event).__name__.lower()
    return sse(_encoder.encode(event), name)


@router.post(
    "/generate",
    response_model=GenerateRead,
    responses=STREAM | errors(404, 413, 422, 429, 500, 503, 504),
)
async def generate(
    body: GenerateRequest,
    request: Request,
    completer: CompleterDep,
    request_id: RequestId,
    budget: BudgetDep,
) -> Any:
    """Answer a conversation; with `stream`, as server-sent events."""
    events = completer.complete(body.to_core(request_id, budget))
    if body.stream:
        return EventStream(events, render)
    completion = await until_disconnect(request, collect(events))
    return GenerateRead.of(completion)


@router.post(
    "/embed", response_model=EmbedRead, responses=errors(400, 404, 413, 422, 429, 500, 503, 504)
)
async def embed(
    body: EmbedRequest,
    request: Request,
    embedder: EmbedderDep,
    request_id: RequestId,
    budget: BudgetDep,
) -> Response:
    """Return one unit vector per text."""
    if not body.texts:
        raise EmptyInput("texts is empty.", param="texts", hint="Send at least one text.")
    wanted = EmbeddingRequest(id=request_id, model=body.model, texts=body.texts, budget=budget)
    found = await until_disconnect(request, embedder.embed(wanted))
    vectors = base64.b64encode(found.data) if body.encoding == "base64" else found.vectors
    read = {
        "embeddings": vectors.decode() if isinstance(vectors, bytes) else vectors,
        "dim": found.dim,
        "count": found.count,
        "model": found.model,
        "tokens": found.tokens,
    }
    # Thousands of numbers: msgspec writes them many times faster than a Pydantic model would.
    return Response(_encoder.encode(read), media_type="application/json")


@router.post("/tokenize", responses=errors(404, 413, 422, 500))
async def tokenize(body: TokenizeRequest, counter: TokenCounterDep) -> TokenizeRead:
    """Return the token ids of a text, or of a conversation with its template."""
    if (body.text is None) == (body.messages is None):
        raise InvalidRequest("Send either text or messages.", param="text")
    if body.text is not None:
        ids = await counter.tokenize(body.model, body.text)
    else:
        turns = [Message(m.role, m.content) for m in body.messages or []]
        ids = await counter.tokenize(body.model, turns)
    return TokenizeRead(tokens=ids, count=len(ids), model=body.model)
