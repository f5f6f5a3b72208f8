"""`/v1/…`: models, chat completions, embeddings."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from maloca.asgi.streaming import EventStream, answered_by, until_disconnect
from maloca.asgi.strict_json import StrictRoute
from maloca.core.completer import EmbeddingRequest, collect
from maloca.core.errors import EmptyInput, ModelNotFound, Unsupported
from maloca.dialects.fields import errors
from maloca.dialects.openai.render import (
    DONE,
    ChatChunks,
    completion_of,
    embeddings_of,
    model_of,
    models_of,
)
from maloca.dialects.openai.schemas import ChatCompletionRequest, EmbeddingsRequest
from maloca.dialects.services import (
    BudgetDep,
    CompleterDep,
    EmbedderDep,
    ListerDep,
    RequestId,
    RoutingDep,
)

_STREAM: Final[dict[str, Any]] = {
    "content": {"text/event-stream": {}},
    "description": "An answer, or its chunks.",
}

router = APIRouter(prefix="/v1", tags=["openai"], route_class=StrictRoute)


@router.get("/models")
async def list_models(lister: ListerDep) -> dict[str, Any]:
    """List the names that can be asked for."""
    return models_of(await lister.models())


@router.get("/models/{name}", responses=errors(404))
async def show_model(name: str, lister: ListerDep) -> dict[str, Any]:
    """Describe one model or alias."""
    for model in await lister.models():
        if name == model.name or name in model.aliases:
            return model_of(name, model)
    raise ModelNotFound(f"There is no model {name[:100]!r}.", param="model")


@router.post(
    "/chat/completions",
    responses=errors(400, 404, 413, 429, 500, 503, 504) | {200: _STREAM},
)
async def chat_completions(
    body: ChatCompletionRequest,
    request: Request,
    response: Response,
    completer: CompleterDep,
    request_id: RequestId,
    budget: BudgetDep,
    routing: RoutingDep,
) -> Any:
    """Answer a conversation; with `stream`, as chunks."""
    events = completer.complete(body.to_core(request_id, budget, routing))
    if body.stream:
        return EventStream(events, ChatChunks(include_usage=body.include_usage), tail=DONE)
    completion = await until_disconnect(request, collect(events))
    response.headers.update(answered_by(completion.started))
    return completion_of(completion)


@router.post("/embeddings", responses=errors(400, 404, 413, 429, 500, 503, 504))
async def embeddings(
    body: EmbeddingsRequest,
    request: Request,
    embedder: EmbedderDep,
    request_id: RequestId,
    budget: BudgetDep,
) -> Response:
    """Return one unit vector per input."""
    wanted = EmbeddingRequest(
        id=request_id, model=body.model, texts=_texts(body.input), budget=budget
    )
    found = await until_disconnect(request, embedder.embed(wanted))
    if body.dimensions not in {None, found.dim}:
        raise Unsupported(
            f"{found.model} makes vectors of {found.dim} dimensions only.", param="dimensions"
        )
    read = embeddings_of(found, body.encoding_format)
    return Response(msgspec.json.encode(read), media_type="application/json")


def _texts(given: str | list[Any]) -> list[str]:
    """Return the input as texts, or say why it cannot be embedded."""
    texts = [given] if isinstance(given, str) else given
    if not texts or any(text == "" for text in texts):
        raise EmptyInput("input is empty.", param="input", hint="Send at least one character.")
    if not all(isinstance(text, str) for text in texts):
        raise Unsupported(
            "input holds token ids of another tokenizer.",
            param="input",
            hint="Send texts; in LangChain set check_embedding_ctx_length=False.",
        )
    return texts
