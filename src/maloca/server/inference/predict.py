"""Several answers to one prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.dialects.native.schemas import UsageRead
from maloca.dialects.services import Routing
from maloca.server.inference.schemas import PredictRead, PredictRequest
from maloca.server.inference.service import Answer, Asker, Inference


async def predict(
    inference: Inference,
    asker: Asker,
    body: PredictRequest,
    *,
    request_id: str,
    budget: Budget | None,
    routing: Routing,
    use_cache: bool,
) -> PredictRead:
    """Return the answers, which are made at the same time.

    Raises:
        MalocaError: Whatever the first sequence that failed did; the others are cancelled.
    """
    # Greedy answers are all the same: one is made, and said as often as it was asked for.
    count = 1 if body.is_greedy else body.num_return_sequences
    requests = [body.to_core(request_id, budget, routing, sequence=index) for index in range(count)]
    answers = await _all(inference, asker, requests, use_cache=use_cache)
    completions = [answer.completion for answer in answers]
    asker.meter.cached = all(answer.cached for answer in answers)
    asker.meter.end("ok")
    first = completions[0]
    prompt = sum(completion.usage.prompt_tokens for completion in completions)
    written = sum(completion.usage.completion_tokens for completion in completions)
    texts = [completion.text for completion in completions]
    return PredictRead(
        responses=texts * body.num_return_sequences if body.is_greedy else texts,
        model=first.started.model,
        answered_by=first.started.answered_by,
        cached=asker.meter.cached,
        usage=UsageRead(
            prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written
        ),
    )


async def _all(
    inference: Inference, asker: Asker, requests: Sequence[CompletionRequest], *, use_cache: bool
) -> list[Answer]:
    if len(requests) == 1:
        return [await inference.answer(requests[0], asker, use_cache=use_cache)]
    tasks = [
        asyncio.ensure_future(inference.answer(request, asker, use_cache=use_cache))
        for request in requests
    ]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
