from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.conftest import LiveApp
from tests.engine.asking import (
    chat_model,
    events_of,
    nothing_left,
    request,
    running,
    streaming,
    text_of,
    the_rest,
)

from maloca.core.budget import Budget
from maloca.core.completer import EmbeddingRequest
from maloca.core.errors import BudgetExceeded
from maloca.core.events import Failed, Started


def code_of(event: object) -> str:
    assert isinstance(event, Failed)
    assert event.error.status == 504
    return event.error.code


async def test_time_may_run_out_in_the_queue(tmp_path: Path) -> None:
    async with running(tmp_path, {"max_running": 1}) as engine:
        model = await chat_model(engine)
        async with streaming(engine, request(reply="ab", delay_ms=60_000)):
            events = await events_of(engine, request(budget_ms=30))
            assert [type(event) for event in events] == [Started, Failed]
            assert code_of(events[-1]) == "budget_exceeded"
            assert (model.scheduler.running, model.scheduler.waiting) == (1, 0)
        assert nothing_left(model)


async def test_time_may_run_out_while_the_model_loads(tmp_path: Path) -> None:
    async with running(tmp_path, load_ms=60_000) as engine:
        events = await events_of(engine, request(budget_ms=30))
        assert code_of(events[-1]) == "budget_exceeded"
        assert nothing_left(await chat_model(engine))


async def test_time_may_run_out_before_the_first_token(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await events_of(engine, request())
        events = await events_of(engine, request(budget_ms=30, reply="x", first_ms=60_000))
        assert (code_of(events[-1]), text_of(events)) == ("budget_exceeded", "")
        assert nothing_left(await chat_model(engine))


async def test_time_may_run_out_midway(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await events_of(engine, request())
        wanted = request(budget_ms=200, reply="abc", delay_ms=60_000)
        async with streaming(engine, wanted) as stream:
            assert code_of((await the_rest(stream))[-1]) == "budget_exceeded"
        assert nothing_left(await chat_model(engine))


async def test_a_spent_budget_still_ends_in_one_event(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        assert code_of((await events_of(engine, request(budget_ms=0)))[-1]) == "budget_exceeded"


async def test_without_a_budget_the_services_own_limit_counts(tmp_path: Path) -> None:
    async with running(tmp_path, {"request_timeout": 0.05}) as engine:
        model = await chat_model(engine)
        events = await events_of(engine, request(reply="ab", first_ms=60_000))
        assert code_of(events[-1]) == "budget_exceeded"
        assert nothing_left(model)


async def test_an_answer_within_its_budget_is_not_touched(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await events_of(engine, request())
        assert text_of(await events_of(engine, request(budget_ms=60_000, reply="sí"))) == "sí"


async def test_embedding_has_a_budget_too(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        wanted = EmbeddingRequest(model="embedding", texts=["a"], budget=Budget.of_ms(0))
        with pytest.raises(BudgetExceeded):
            await engine.embed(wanted)
        assert (await engine.embed(replace(wanted, budget=Budget.of_ms(60_000)))).count == 1


@pytest.mark.parametrize("path", ["/api/llm/generate", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_over_http_it_is_a_504_before_the_first_text(
    live_engine: LiveApp, path: str, stream: bool
) -> None:
    messages = [{"role": "user", "content": '#fake {"reply": "x", "first_ms": 60000}'}]
    body = {"model": "default", "messages": messages, "stream": stream}
    headers = {"X-Maloca-Budget-Ms": "40"}
    response = httpx.post(live_engine.url + path, json=body, headers=headers, timeout=30)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "budget_exceeded"
    assert "X-Maloca-Budget-Ms" in response.json()["error"]["hint"]


async def test_many_budgets_that_run_out_together_leave_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        await events_of(engine, request())
        answers = await asyncio.gather(
            *(
                events_of(engine, request(budget_ms=20 + n, reply="abc", delay_ms=60_000))
                for n in range(30)
            )
        )
        assert {code_of(events[-1]) for events in answers} == {"budget_exceeded"}
        assert nothing_left(await chat_model(engine))
