"""Clients that leave, seen from outside: the slot and the KV blocks are free again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.conftest import LiveApp
from tests.observe import metric, until_idle, until_metric

pytestmark = pytest.mark.process

ROUTES = [
    ("live_engine", "/api/llm/generate"),
    ("live_engine", "/v1/chat/completions"),
    ("live_server", "/v1/chat/completions"),
    ("live_server", "/chats/stream"),
]


@pytest.fixture(params=ROUTES, ids=" ".join)
def url(request: pytest.FixtureRequest) -> str:
    service, path = request.param
    live: LiveApp = request.getfixturevalue(service)
    return live.url + path


def body(url: str, *, stream: bool, **script: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"#fake {json.dumps(script)}"}]
    model = {"model": "default"} if "/v1/" in url else {}
    return {"messages": messages, "stream": stream} | model


async def until_running(live: LiveApp, count: int) -> None:
    await until_metric(live.url, "maloca_requests_running", count, model="fake")


async def test_leaving_a_stream_frees_its_place(live_engine: LiveApp, url: str) -> None:
    wanted = body(url, stream=True, reply="ab", delay_ms=60_000)
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", url, json=wanted) as response,
    ):
        assert response.status_code == 200
        await until_running(live_engine, 1)
        assert await metric(live_engine.url, "maloca_kv_blocks_used", model="fake") > 0
    await until_idle(live_engine.url)


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_before_the_first_text_frees_the_place(
    live_engine: LiveApp, url: str, stream: bool
) -> None:
    wanted = body(url, stream=stream, reply="ab", first_ms=60_000)
    async with httpx.AsyncClient(timeout=30) as client:
        asking = asyncio.create_task(client.post(url, json=wanted))
        await until_running(live_engine, 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until_idle(live_engine.url)


async def test_leaving_the_queue_frees_the_place(live_engine: LiveApp, url: str) -> None:
    wanted = body(url, stream=True, reply="ab", first_ms=60_000)
    async with httpx.AsyncClient(timeout=30) as client:
        asking = [asyncio.create_task(client.post(url, json=wanted)) for _ in range(20)]
        await until_metric(live_engine.url, "maloca_requests_waiting", 4, model="fake")
        for task in asking[::-1]:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    await until_idle(live_engine.url)


async def test_many_that_leave_at_once_leave_nothing(live_engine: LiveApp, url: str) -> None:
    wanted = body(url, stream=True, reply="a" * 100, delay_ms=2)
    limits = httpx.Limits(max_connections=80)

    async with httpx.AsyncClient(timeout=60, limits=limits) as client:

        async def leave(after: int) -> None:
            async with client.stream("POST", url, json=wanted) as response:
                async for _ in response.aiter_raw():
                    after -= 1
                    if after <= 0:
                        return

        await asyncio.gather(*(leave(1 + n % 5) for n in range(64)))
    await until_idle(live_engine.url)
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.post(url, json=body(url, stream=False, reply="x"))).status_code == 200


async def test_what_was_left_is_counted_as_cancelled(live_engine: LiveApp) -> None:
    url = live_engine.url + "/api/llm/generate"
    labels = {"model": "fake", "kind": "chat", "outcome": "cancelled"}
    before = await metric(live_engine.url, "maloca_requests_total", **labels)
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", url, json=body(url, stream=True, reply="ab", delay_ms=60_000)),
    ):
        pass
    await until_metric(live_engine.url, "maloca_requests_total", before + 1, **labels)


async def test_a_reader_that_stalls_does_not_stall_the_others(live_engine: LiveApp) -> None:
    url = live_engine.url + "/api/llm/generate"
    long = body(url, stream=True, reply="a" * 500) | {"max_new_tokens": 600}
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", url, json=long) as stalled,
    ):
        for number in range(5):
            answer = await client.post(url, json=body(url, stream=False, reply=f"n{number}"))
            assert answer.json()["answer"] == f"n{number}"
        text = (await stalled.aread()).decode()
        assert text.count("event: done") == 1


async def test_each_of_many_streams_gets_its_own_text(live_engine: LiveApp, url: str) -> None:
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=64)) as client:

        async def ask(number: int) -> None:
            reply = f"respuesta {number:03d}"
            answer = await client.post(url, json=body(url, stream=True, reply=reply))
            said = ""
            for line in answer.text.splitlines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line.removeprefix("data: "))
                if event.get("event") == "delta":
                    said += event["text"]
                elif event.get("choices"):
                    said += event["choices"][0]["delta"].get("content", "")
            assert said == reply

        await asyncio.gather(*(ask(number) for number in range(48)))
    await until_idle(live_engine.url)
