from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.dialects.conftest import Route
from tests.dialects.wire import CHAT_ROUTES, HOLA, ROUTES, assert_refused

MIB = 1024 * 1024
BODIES = {
    "nothing": b"",
    "not JSON": b"hola",
    "unfinished": b'{"messages": [',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "an empty object": b"{}",
    "1,000 deep": b'{"messages": ' * 1000 + b"1" + b"}" * 1000,
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open": b'{"a":' * 100_000,
    "invalid UTF-8": b'{"text": "\xff\xfe"}',
    "binary": bytes(range(256)),
    "NaN": b'{"temperature": NaN}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_broken_bodies(route: Route, body: bytes) -> None:
    client, path, _ = route
    assert_refused(client.post(path, content=body))


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_ten_megabytes(route: Route, declared: bool) -> None:
    client, path, good = route
    body = json.dumps(good | {"user": "x" * 10 * MIB}).encode()
    parts = (body[i : i + MIB] for i in range(0, len(body), MIB))
    response = client.post(path, content=body if declared else parts)
    assert response.status_code == 413
    assert assert_refused(response)["code"] == "body_too_large"


def test_an_unknown_field_is_named(route: Route) -> None:
    client, path, good = route
    error = assert_refused(client.post(path, json=good | {"temprature": 1}))
    assert error["param"] == "temprature"


def test_an_unknown_model_is_named_with_the_way_out(route: Route) -> None:
    client, path, good = route
    response = client.post(path, json=good | {"model": "no-such-model"})
    error = assert_refused(response)
    assert (response.status_code, error["code"]) == (404, "model_not_found")
    assert "no-such-model" in error["message"]
    assert "default" in error["hint"]


@pytest.mark.parametrize(
    "model",
    [
        "",
        " ",
        "../../etc/passwd",
        "x" * 201,
        "a\0b",
        ".aliases.json",
        "ñ",
        "fake/../fake",
        5,
        None,
        [],
    ],
)
def test_models_that_cannot_be(route: Route, model: Any) -> None:
    client, path, good = route
    assert_refused(client.post(path, json=good | {"model": model}))


def test_every_field_refuses_every_other_type(route: Route) -> None:
    client, path, good = route
    for field in good:
        for wrong in (True, 1, -1.5, {"a": 1}, [[[1]]], [None], [{}]):
            if isinstance(wrong, list) and field == "stop":
                continue
            assert_refused(client.post(path, json=good | {field: wrong}))


@pytest.mark.parametrize(
    "text", [r"\ud800", r"\udfff", r"a\u0000b"], ids=["high surrogate", "low surrogate", "NUL"]
)
def test_texts_that_are_no_text(route: Route, text: str) -> None:
    client, path, good = route
    body = json.dumps(good).replace('"hola"', f'"{text}"').encode()
    assert_refused(client.post(path, content=body))
    listed = json.dumps(good).replace('"hola"', f'["{text}"]').encode()
    assert_refused(client.post(path, content=listed))


@pytest.fixture(params=CHAT_ROUTES, ids=" ".join)
def chat(request: pytest.FixtureRequest, engine: httpx.Client, server: httpx.Client) -> Route:
    service, path = request.param
    return engine if service == "live_engine" else server, path, dict(ROUTES[request.param])


MESSAGES = {
    "none": [],
    "null": None,
    "a text": "hola",
    "an object": {"role": "user", "content": "hola"},
    "an unknown role": [{"role": "wizard", "content": "hola"}],
    "no role": [{"content": "hola"}],
    "a role in capitals": [{"role": "User", "content": "hola"}],
    "a number as content": [{"role": "user", "content": 1}],
    "an unknown field": [*HOLA, {"role": "user", "content": "x", "colour": "red"}],
    "a picture": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    "too many": HOLA * 10_001,
    "nested lists": [[HOLA]],
}


@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES.keys())
def test_bad_messages(chat: Route, messages: Any) -> None:
    client, path, good = chat
    error = assert_refused(client.post(path, json=good | {"messages": messages}))
    assert error["param"].startswith("messages")


SAMPLING = {
    "temperature": [-0.1, 2.1, 1e308, -1e308, "1", True],
    "top_p": [0, -1, 1.01, "0.5"],
    "seed": [1.5, 2**63, -(2**63) - 1, 10**400, "7"],
    "stop": ["", [""], ["a"] * 17, ["x" * 257], [1], {"a": 1}, 5],
    "frequency_penalty": [-2.1, 2.1, "x"],
    "presence_penalty": [-2.1, 2.1, []],
    "stream": ["yes", 1, []],
}
NEW_TOKENS = [0, -1, 10**7, 10**30, 1.5, "5", True]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in SAMPLING.items() for value in values],
    ids=lambda value: str(value)[:12],
)
def test_sampling_out_of_range(chat: Route, field: str, value: Any) -> None:
    client, path, good = chat
    error = assert_refused(client.post(path, json=good | {field: value}))
    assert error["param"].partition(".")[0] == field


@pytest.mark.parametrize("value", NEW_TOKENS, ids=str)
def test_lengths_out_of_range(chat: Route, value: Any) -> None:
    client, path, good = chat
    field = "max_tokens" if path.startswith("/v1/") else "max_new_tokens"
    error = assert_refused(client.post(path, json=good | {field: value}))
    assert error["param"] == field


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["temperature", "top_p", "presence_penalty"])
def test_numbers_that_are_no_numbers(chat: Route, field: str, number: str) -> None:
    client, path, good = chat
    body = json.dumps(good | {field: 0}).replace(f'"{field}": 0', f'"{field}": {number}')
    assert_refused(client.post(path, content=body.encode()))


@pytest.mark.parametrize(
    "budget",
    ["0", "-1", "1.5", "abc", "1e3", "86400001", "0" * 11 + "1" + "9" * 5000, "9" * 5000, "٣", "x"],
    ids=lambda value: value[:8],
)
def test_budgets_that_cannot_be(chat: Route, budget: str) -> None:
    client, path, good = chat
    headers = {"X-Maloca-Budget-Ms": budget.encode()}
    error = assert_refused(client.post(path, json=good, headers=headers))
    assert error["param"] == "X-Maloca-Budget-Ms"


def test_no_texts_is_400(engine: httpx.Client) -> None:
    response = engine.post("/api/llm/embed", json={"texts": []})
    error = assert_refused(response)
    assert (response.status_code, error["code"], error["param"]) == (400, "empty_input", "texts")


@pytest.mark.parametrize(
    "given",
    [
        ["a"] * 2049,
        [["a"] * 10],
        [1, 2, 3],
        [[1, 2], [3]],
        ["a", 1],
        ["a", None],
        ["a", ""],
        [""],
        "",
        None,
        {},
        5,
        [{}],
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.parametrize("name", ["engine", "server"])
def test_inputs_that_cannot_be_embedded(
    request: pytest.FixtureRequest, name: str, given: Any
) -> None:
    client: httpx.Client = request.getfixturevalue(name)
    body = {"model": "embedding", "input": given}
    error = assert_refused(client.post("/v1/embeddings", json=body))
    assert error["param"].partition(".")[0] == "input"


def test_a_text_that_does_not_fit_is_refused_with_limit_and_count(engine: httpx.Client) -> None:
    body = {"texts": ["ok", "x" * 100]}
    error = assert_refused(engine.post("/api/llm/embed", json=body))
    assert (error["code"], error["param"]) == ("context_length_exceeded", "texts[1]")
    assert "100 tokens" in error["message"]
    assert " 64 " in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "a", "messages": HOLA},
        {"text": None},
        {"messages": []},
        {"text": 1},
        {"text": ["a"]},
    ],
    ids=str,
)
def test_what_cannot_be_tokenized(engine: httpx.Client, body: dict[str, Any]) -> None:
    assert_refused(engine.post("/api/llm/tokenize", json=body))


def test_a_model_of_the_other_kind_is_refused(engine: httpx.Client) -> None:
    chat = engine.post("/api/llm/generate", json={"messages": HOLA, "model": "embedding"})
    assert assert_refused(chat)["code"] == "wrong_kind"
    embed = engine.post("/api/llm/embed", json={"texts": ["a"], "model": "default"})
    assert assert_refused(embed)["code"] == "wrong_kind"


def test_everything_still_answers_afterwards(route: Route) -> None:
    client, path, good = route
    assert client.post(path, json=good).status_code == 200
