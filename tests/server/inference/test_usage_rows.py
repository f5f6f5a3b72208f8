"""Each request leaves exactly one row of usage, however it ends, on both databases."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.conftest import LiveApp
from tests.observe import until_idle, until_metric
from tests.server.inference.conftest import Build, House, script
from websockets.sync.client import connect

from maloca.server.usage.models import UsageEvent

pytestmark = pytest.mark.process

CHAT = "/v1/chat/completions"
SLOW = script(reply="a" * 200, delay_ms=50)


def only_row(house: House) -> UsageEvent:
    """Stop the server, and return the one row that it has written."""
    house.stop()
    [row] = house.people.usage()
    assert row.day == row.at.date()
    assert row.duration_ms > 0
    return row


def chat(prompt: str, **options: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": prompt}]} | options


async def leave(house: House, engine: LiveApp, path: str, body: dict[str, Any]) -> None:
    """Send a request, and go away while it is answered."""
    async with httpx.AsyncClient(base_url=house.url) as client:
        asking = asyncio.create_task(client.post(path, json=body))
        await until_metric(engine.url, "maloca_requests_running", 1, model="fake")
        # Some pieces of the answer come, of the ten seconds that it would take.
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await until_idle(engine.url)


def test_an_answer(build_on_both: Build) -> None:
    house = build_on_both()
    ana = house.people.add("ana")
    headers = ana.headers | {"X-Request-Id": "mine"}
    answer = house.post(json={"prompt": script(reply="hola")}, headers=headers)
    usage = answer.json()["usage"]
    row = only_row(house)
    assert (row.request_id, row.route, row.status, row.error) == ("mine", "/predict", "ok", "")
    assert (row.user_id, row.key_id) == (ana.user_id, ana.key_id)
    assert (row.provider, row.model, row.cached) == ("engine", "fake", False)
    assert row.prompt_tokens == usage["prompt_tokens"]
    assert row.completion_tokens == usage["completion_tokens"] == 5
    assert row.ttft_ms is not None
    assert 0 < row.ttft_ms <= row.duration_ms


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/predict", CHAT])
def test_however_it_is_asked(build: Build, path: str, stream: bool) -> None:
    house = build()
    prompt = script(reply="hola")
    body = {"prompt": prompt} if path == "/predict" else chat(prompt)
    assert house.client.post(path, json=body | {"stream": stream}).status_code == 200
    row = only_row(house)
    assert (row.route, row.status, row.completion_tokens) == (path, "ok", 5)
    assert row.ttft_ms is not None
    assert row.user_id is None


def test_several_sequences_are_one_request(build: Build) -> None:
    house = build()
    usage = house.post(json={"num_return_sequences": 4}).json()["usage"]
    row = only_row(house)
    assert (row.prompt_tokens, row.completion_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


def test_the_pages_chat_and_embeddings_count_too(build: Build) -> None:
    house = build()
    turn = {"role": "user", "content": script(reply="hola")}
    assert house.client.post("/chats/stream", json={"messages": [turn]}).status_code == 200
    body = {"model": "embedding", "input": ["hola", "fuego"]}
    assert house.client.post("/v1/embeddings", json=body).status_code == 200
    house.stop()
    stream, embedding = house.people.usage()
    assert (stream.route, stream.status, stream.completion_tokens) == ("/chats/stream", "ok", 5)
    assert (embedding.route, embedding.status) == ("/v1/embeddings", "ok")
    assert (embedding.model, embedding.completion_tokens) == ("fake-embedding", 0)
    assert embedding.prompt_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure(build: Build, stream: bool) -> None:
    house = build()
    body = {"prompt": script(reply="abc", after=1, then="error"), "stream": stream}
    house.post(json=body)
    row = only_row(house)
    assert row.status == "failed"
    assert row.error


@pytest.mark.parametrize("path", ["/predict", CHAT])
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_there(build: Build, path: str, stream: bool) -> None:
    house = build()
    body = {"prompt": "hola"} if path == "/predict" else chat("hola")
    house.client.post(path, json=body | {"model": "nobody", "stream": stream})
    row = only_row(house)
    assert (row.status, row.error, row.provider) == ("failed", "model_not_found", "")


def test_a_body_that_is_wrong(build: Build) -> None:
    house = build()
    assert house.post(json={"max_length": 0}).status_code == 422
    row = only_row(house)
    assert (row.status, row.error) == ("failed", "invalid_request")


@pytest.mark.parametrize("path", ["/predict", CHAT])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves(build: Build, live_engine: LiveApp, path: str, stream: bool) -> None:
    house = build()
    body = {"prompt": SLOW} if path == "/predict" else chat(SLOW)
    asyncio.run(leave(house, live_engine, path, body | {"stream": stream}))
    row = only_row(house)
    assert (row.status, row.error, row.provider) == ("cancelled", "", "engine")
    # What was said until then counts.
    assert 0 < row.completion_tokens < 100


@pytest.mark.parametrize("path", ["/predict", CHAT])
def test_an_answer_from_the_cache(build_on_both: Build, path: str) -> None:
    house = build_on_both()
    body = {"prompt": "hola"} if path == "/predict" else chat("hola")
    for _ in range(2):
        assert house.client.post(path, json=body | {"temperature": 0}).status_code == 200
    house.stop()
    made, repeated = house.people.usage()
    assert (made.cached, made.status) == (False, "ok")
    assert made.completion_tokens > 0
    assert (repeated.cached, repeated.status) == (True, "ok")
    assert (repeated.provider, repeated.model) == ("engine", "fake")
    assert (repeated.prompt_tokens, repeated.completion_tokens) == (0, 0)
    assert repeated.ttft_ms is None


def test_one_too_many(build: Build) -> None:
    house = build(rate_limit_requests=1)
    house.post()
    assert house.post().status_code == 429
    house.stop()
    _, refused = house.people.usage()
    assert (refused.status, refused.error) == ("rate_limited", "rate_limited")
    assert (refused.provider, refused.completion_tokens) == ("", 0)


@pytest.mark.parametrize("path", ["/predict", CHAT])
def test_tokens_of_the_day_that_are_spent(build_on_both: Build, path: str) -> None:
    house = build_on_both(tokens_per_day=400)
    body: dict[str, Any] = {"prompt": "hola", "max_length": 300}
    if path == CHAT:
        body = chat("hola", max_tokens=300)
    answers = [house.client.post(path, json=body) for _ in range(10)]
    codes = [answer.status_code for answer in answers]
    assert codes[0] == 200
    assert codes[-1] == 429
    assert answers[-1].json()["error"]["code"] == "token_budget_spent"
    assert int(answers[-1].headers["retry-after"]) > 0
    house.stop()
    rows = house.people.usage()
    assert [row.status == "ok" for row in rows] == [code == 200 for code in codes]
    assert rows[-1].error == "token_budget_spent"
    assert sum(row.prompt_tokens + row.completion_tokens for row in rows) <= 400


def test_a_socket_leaves_one_row_for_each_prompt(build: Build) -> None:
    house = build()
    with connect(house.url.replace("http", "ws") + "/predict/ws") as socket:
        for prompt in (script(reply="hola"), SLOW):
            socket.send(json.dumps({"prompt": prompt}))
            while (event := json.loads(socket.recv()))["event"] != "delta":
                pass
            while prompt != SLOW and event["event"] != "done":
                event = json.loads(socket.recv())
    house.stop()
    answered, left = house.people.usage()
    assert (answered.route, answered.status) == ("/predict/ws", "ok")
    assert (left.route, left.status) == ("/predict/ws", "cancelled")


def test_the_text_is_kept_nowhere_in_usage(build: Build) -> None:
    house = build()
    house.post(json={"prompt": script(reply="canary-said")})
    row = only_row(house)
    values = [str(getattr(row, column.name)) for column in UsageEvent.__table__.columns]
    assert not any("canary" in value or "#fake" in value for value in values)
