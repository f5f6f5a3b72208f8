"""What is kept of an answer depends on who gave it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.server.inference.cache.answers import answer, request

from maloca.core.completer import CompletionRequest, ModelInfo
from maloca.core.errors import Unavailable
from maloca.core.events import Delta, Done, Event, Skipped
from maloca.server.accounts.authentication import anonymous
from maloca.server.db import versions
from maloca.server.db.database import Database, database_url
from maloca.server.inference.cache.store import AnswerStore
from maloca.server.inference.identity import ModelIdentities
from maloca.server.inference.metrics import InferenceMetrics
from maloca.server.inference.service import Inference
from maloca.server.inference.settings import InferenceSettings
from maloca.server.limits.allowances import Allowances
from maloca.server.limits.budgets import TokenBudgets
from maloca.server.limits.limiter import RequestLimiter
from maloca.server.limits.rates import Rate
from maloca.server.usage.recorder import UsageRecorder


class Engine:
    """Answers and lists models as it is told to."""

    def __init__(self) -> None:
        self.asked: list[CompletionRequest] = []
        self.started: dict[str, Any] = {}
        self.created = 1
        self.down = False

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        found = answer(f"answer {len(self.asked)}", **self.started)
        yield found.started
        yield Delta(found.text)
        yield found.usage
        yield Done(finish_reason="stop", timings=found.timings)

    async def models(self) -> list[ModelInfo]:
        if self.down:
            raise Unavailable("gone")
        model = ModelInfo(
            name="fake",
            kind="chat",
            state="ready",
            context_length=100,
            aliases=["default"],
            created=self.created,
            runtime="fake",
        )
        return [model]


class Desk:
    """Inference around one engine, and a clock for what it knows of models."""

    def __init__(self, database: Database) -> None:
        registry = CollectorRegistry()
        self.now = 0.0
        self.engine = Engine()
        self.first: str | None = "default"
        self.inference = Inference(
            self.engine,
            InferenceSettings.load(),
            identities=ModelIdentities(
                self.engine, means=lambda _: self.first, clock=lambda: self.now
            ),
            store=AnswerStore(database, max_bytes=100_000, seconds=60),
            limiter=RequestLimiter(),
            allowances=Allowances(database, predict=Rate(100, 60), tokens_per_day=None),
            budgets=TokenBudgets(database),
            recorder=UsageRecorder(database, registry),
            metrics=InferenceMetrics(registry),
        )

    async def ask(self) -> tuple[str, bool]:
        meter = self.inference.meter(anonymous("127.0.0.1"), route="/predict", request_id="r")
        with meter:
            asker, _ = await self.inference.admit(meter, predict=True)
            found = await self.inference.answer(request(), asker)
            meter.end("ok")
            return found.completion.text, found.cached


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk, None]:
    url = database_url(f"sqlite:///{tmp_path / 'maloca.db'}")
    await versions.upgrade(url)
    database = Database(url)
    yield Desk(database)
    await database.aclose()


async def test_the_first_choices_answer_is_kept(desk: Desk) -> None:
    assert [await desk.ask() for _ in range(2)] == [("answer 1", False), ("answer 1", True)]
    assert desk.engine.asked[0].flow == "ip:127.0.0.1"


@pytest.mark.parametrize(
    "started",
    [
        {"answered_by": "standby", "skipped": [Skipped("engine", "unreachable")]},
        {"answered_by": "extractive"},
        {"answered_by": "openai"},
        {"skipped": [Skipped("openai", "breaker_open")]},
        {"model": "another"},
    ],
)
async def test_any_other_answer_is_not(desk: Desk, started: dict[str, Any]) -> None:
    desk.engine.started = started
    assert [await desk.ask() for _ in range(2)] == [("answer 1", False), ("answer 2", False)]
    # When the first choice is back, it is asked, and its answer kept.
    desk.engine.started = {}
    assert [await desk.ask() for _ in range(2)] == [("answer 3", False), ("answer 3", True)]


async def test_another_version_of_the_model_is_another_model(desk: Desk) -> None:
    await desk.ask()
    desk.engine.created = 2
    desk.now += 10
    assert await desk.ask() == ("answer 2", False)


async def test_while_the_engine_is_gone_its_answers_stay(desk: Desk) -> None:
    await desk.ask()
    desk.engine.down = True
    desk.now += 10
    assert await desk.ask() == ("answer 1", True)


async def test_when_another_provider_comes_first_nothing_is_repeated(desk: Desk) -> None:
    await desk.ask()
    desk.first = None
    assert await desk.ask() == ("answer 2", False)
