"""The cache as callers see it: sure answers once, never somebody else's, never a fallback's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.conftest import LiveApp
from tests.observe import metric
from tests.server.inference.conftest import Build, House, script

pytestmark = pytest.mark.process

SURE = {"temperature": 0}


def cached(answer: httpx.Response) -> bool:
    assert answer.status_code == 200
    found: bool = answer.json()["cached"]
    return found


@pytest.mark.parametrize(
    ("options", "repeats"),
    [
        ({"temperature": 0}, True),
        ({"seed": 5}, True),
        ({"temperature": 0, "num_return_sequences": 3}, True),
        ({"seed": 5, "num_return_sequences": 3}, True),
        ({}, False),
        ({"temperature": 0.8}, False),
    ],
)
def test_only_sure_answers_are_repeated(
    house: House, options: dict[str, Any], repeats: bool
) -> None:
    prompt = {"prompt": f"repite {options}"} | options
    first, second = house.post(json=prompt), house.post(json=prompt)
    assert (cached(first), cached(second)) == (False, repeats)
    if repeats:
        assert first.json()["responses"] == second.json()["responses"]
        assert first.json()["usage"] == second.json()["usage"]


@pytest.mark.parametrize(
    "headers", [{"Cache-Control": "no-store"}, {"X-Maloca-Cache": "off"}, {"x-maloca-cache": "OFF"}]
)
def test_a_header_turns_it_off(house: House, headers: dict[str, str]) -> None:
    prompt = {"prompt": f"sin memoria {headers}"} | SURE
    assert not cached(house.post(json=prompt, headers=headers))
    assert not cached(house.post(json=prompt)), "and nothing was kept"
    assert not cached(house.post(json=prompt, headers=headers))
    assert cached(house.post(json=prompt))


def test_a_stream_goes_around_it(house: House) -> None:
    prompt = {"prompt": "río"} | SURE
    house.post(json=prompt | {"stream": True})
    assert not cached(house.post(json=prompt))
    assert '"cached"' not in house.post(json=prompt | {"stream": True}).text


def test_nobody_gets_an_answer_of_somebody_else(build_on_both: Build) -> None:
    house = build_on_both()
    ana, luis = house.people.add("ana"), house.people.add("luis")
    assert not cached(house.post(json=SURE, headers=ana.headers))
    assert not cached(house.post(json=SURE, headers=luis.headers))
    assert not cached(house.post(json=SURE))
    assert cached(house.post(json=SURE, headers=ana.headers))
    # Not even after a restart, from the database.
    house.stop()
    again = build_on_both()
    stranger = again.people.add("stranger")
    assert not cached(again.post(json=SURE, headers=stranger.headers))
    assert cached(again.post(json=SURE, headers=luis.headers))


def test_identical_requests_at_once_are_one(house: House, live_engine: LiveApp) -> None:
    async def work() -> tuple[list[httpx.Response], float]:
        before = await metric(live_engine.url, "maloca_requests_total", model="fake")
        body = {"prompt": script(reply="hola", first_ms=500)} | SURE
        async with httpx.AsyncClient(base_url=house.url, timeout=30) as client:
            found = await asyncio.gather(*(client.post("/predict", json=body) for _ in range(10)))
        after = await metric(live_engine.url, "maloca_requests_total", model="fake")
        return list(found), after - before

    answers, asked = asyncio.run(work())
    assert asked == 1
    assert {tuple(answer.json()["responses"]) for answer in answers} == {("hola",)}
    assert sum(not cached(answer) for answer in answers) == 1
    assert len({answer.headers["x-request-id"] for answer in answers}) == 10


def test_a_failure_is_not_kept(house: House) -> None:
    body = {"prompt": script(reply="abc", after=1, then="error")} | SURE
    codes = [house.post(json=body).status_code for _ in range(2)]
    assert codes[0] == codes[1] >= 500


def test_without_knowing_the_model_nothing_is_repeated(build: Build) -> None:
    house = build()
    assert not cached(house.post(json=SURE))
    house.stop()
    # Another server on the same database, whose engine never answered: it does not guess.
    alone = build(engine_url="http://127.0.0.1:1")
    assert alone.post(json=SURE).status_code == 503


def test_it_can_be_turned_off(build: Build) -> None:
    house = build(cache_mb=0)
    assert [cached(house.post(json=SURE)) for _ in range(2)] == [False, False]


def test_answers_age(build: Build) -> None:
    house = build(cache_seconds=0.001)
    assert [cached(house.post(json=SURE)) for _ in range(2)] == [False, False]


def test_the_metrics_tell(build: Build) -> None:
    house = build(rate_limit_requests=4)
    for _ in range(3):
        house.post(json=SURE)
    house.post()
    house.post()

    async def read(name: str, **labels: str) -> float:
        return await metric(house.url, name, **labels)

    def value(name: str, **labels: str) -> float:
        return asyncio.run(read(name, **labels))

    assert value("maloca_cache_requests_total", result="hit") == 2
    assert value("maloca_cache_requests_total", result="miss") == 1
    assert value("maloca_cache_entries") == 1
    assert value("maloca_cache_bytes") > 0
    assert value("maloca_rate_limited_total", limit="requests") == 1
    assert value("maloca_inference_requests_total", route="/predict", status="ok") == 4
    assert value("maloca_inference_requests_total", status="rate_limited") == 1
    assert value("maloca_inference_ttft_seconds_count", provider="engine") == 2
    assert value("maloca_inference_tokens_total", kind="completion") > 0
