"""What the official SDK sees of an engine that is full, or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI
from tests.conftest import LiveApp, engine_settings, fake_store, serve
from tests.dialects.sdk import HOLA, scripted
from tests.observe import until_idle, until_metric

from maloca.engine.app import create_app as create_engine
from maloca.server.app import create_app as create_server
from maloca.server.settings import ServerSettings


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[LiveApp]:
    """Serve an engine that runs one request and lets one wait."""
    settings = engine_settings(fake_store(tmp_path).path, queue_limit=1, max_running=1)
    with serve(create_engine(settings)) as engine:
        yield engine


@pytest.fixture
def server(narrow: LiveApp) -> Iterator[LiveApp]:
    with serve(create_server(ServerSettings.load(port=0, engine_url=narrow.url))) as server:
        yield server


def connect(live: LiveApp) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=live.url + "/v1", api_key="none", max_retries=0, timeout=60)


@pytest.mark.parametrize("through_the_server", [False, True])
async def test_a_full_queue_says_when_to_come_back(
    narrow: LiveApp, server: LiveApp, through_the_server: bool
) -> None:
    slow = scripted(reply="ab", delay_ms=30_000)
    async with connect(server if through_the_server else narrow) as client:
        create = client.chat.completions.create
        running = await create(model="default", messages=slow, stream=True)
        waiting = asyncio.create_task(create(model="default", messages=slow))
        await until_metric(narrow.url, "maloca_requests_waiting", 1, model="fake")

        with pytest.raises(openai.RateLimitError) as caught:
            await create(model="default", messages=HOLA)
        assert caught.value.code == "overloaded"
        assert int(caught.value.response.headers["retry-after"]) >= 1

        # Whoever leaves makes room, in the queue and in the worker.
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until_metric(narrow.url, "maloca_requests_waiting", 0, model="fake")
        await running.close()
        answer = await create(model="default", messages=HOLA)
        assert answer.choices[0].finish_reason == "stop"
    await until_idle(narrow.url)


async def test_a_server_without_its_engine_is_an_internal_error_with_advice() -> None:
    nowhere = ServerSettings.load(port=0, engine_url="http://127.0.0.1:1")
    with serve(create_server(nowhere)) as server:
        async with connect(server) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(model="default", messages=HOLA)
            with pytest.raises(openai.InternalServerError):
                await client.models.list()
    assert (caught.value.status_code, caught.value.code) == (503, "engine_unreachable")
    assert "maloca up" in str(caught.value.body)
