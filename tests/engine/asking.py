"""Asking an engine that is used as a library, and the fake models that it runs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.conftest import engine_settings, fake_store

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.core.events import Cancelled, Delta, Done, Event, Failed
from maloca.core.messages import Message
from maloca.core.sampling import Sampling
from maloca.engine.chat import ChatModel
from maloca.engine.engine import Engine

TERMINAL = (Done, Cancelled, Failed)


@asynccontextmanager
async def running(
    root: Path, settings: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Engine]:
    """Run an engine whose `default` is a fake model with those options."""
    store = fake_store(root, **options)
    engine = Engine(engine_settings(store.path, **(settings or {})))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def request(
    text: str = "hola",
    *,
    model: str = "default",
    budget_ms: float | None = None,
    sampling: Sampling | None = None,
    **script: Any,
) -> CompletionRequest:
    """Return a request; with a script, the fake model does what it says."""
    content = f"{text} #fake {json.dumps(script)}" if script else text
    return CompletionRequest(
        model=model,
        messages=[Message("user", content)],
        sampling=sampling or Sampling(),
        budget=None if budget_ms is None else Budget.of_ms(budget_ms),
    )


async def events_of(engine: Engine, wanted: CompletionRequest) -> list[Event]:
    """Return all events of an answer, having seen that exactly the last one is terminal."""
    events = [event async for event in engine.complete(wanted)]
    assert [isinstance(event, TERMINAL) for event in events].count(True) == 1
    assert isinstance(events[-1], TERMINAL)
    return events


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@asynccontextmanager
async def streaming(
    engine: Engine, wanted: CompletionRequest, *, deltas: int = 1
) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """Hold a stream open after its first texts; leaving the context closes it."""
    async with aclosing(engine.complete(wanted)) as stream:
        async for event in stream:
            deltas -= isinstance(event, Delta)
            if not deltas:
                break
        yield stream


async def the_rest(stream: AsyncGenerator[Event, None]) -> list[Event]:
    """Return what a stream still says, having seen that exactly the last event is terminal."""
    events = [event async for event in stream]
    assert [isinstance(event, TERMINAL) for event in events] == [False] * (len(events) - 1) + [True]
    return events


async def chat_model(engine: Engine, name: str = "default") -> ChatModel:
    return await engine.chat_model(name)


def nothing_left(model: ChatModel) -> bool:
    """Tell whether a model holds no request and no KV block."""
    scheduler = model.scheduler
    return (scheduler.running, scheduler.waiting, scheduler.blocks_used) == (0, 0, 0)
