"""The official SDK against the live engine and the live server: what works there works here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from tests.conftest import LiveApp
from tests.dialects.sdk import HOLA, ask, said, scripted


def test_a_completion(client: OpenAI) -> None:
    answer = ask(client, scripted(reply="El fuego está en el centro."))
    [choice] = answer.choices
    assert choice.message.content == "El fuego está en el centro."
    assert (choice.message.role, choice.finish_reason, choice.index) == ("assistant", "stop", 0)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "fake"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens == len("El fuego está en el centro.".encode()) + 1


def test_a_stream_says_the_same_in_pieces(client: OpenAI) -> None:
    text = "ɨ́ʔ 🔥 hola"
    chunks = list(ask(client, scripted(reply=text), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + [
        "stop"
    ]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_the_usage_when_asked(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    *chunks, last = ask(client, scripted(reply="hola"), stream=True, stream_options=options)
    assert last.choices == []
    assert last.usage.completion_tokens == 5
    assert last.usage.total_tokens == last.usage.prompt_tokens + 5
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize(
    ("stop", "text"),
    [("c", "ab"), (["x", "de"], "abc"), ("zz", "abcdef"), ("abc", ""), (["cd", "bcd"], "a")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_are_cut_exactly(client: OpenAI, stop: Any, text: str, stream: bool) -> None:
    messages = scripted(reply="abcdef")
    if not stream:
        answer = ask(client, messages, stop=stop)
        assert answer.choices[0].message.content == text
        assert answer.choices[0].finish_reason == "stop"
        return
    chunks = list(ask(client, messages, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_kept_and_said(client: OpenAI, field: str) -> None:
    answer = ask(client, scripted(reply="abcdef"), **{field: 3})
    assert answer.choices[0].message.content == "abc"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_a_seed_repeats_an_answer_and_without_one_answers_differ(client: OpenAI) -> None:
    assert said(client, seed=7) == said(client, seed=7)
    assert said(client, seed=-7) == said(client, seed=-7)
    assert len({said(client) for _ in range(5)}) > 1
    assert len({said(client, seed=seed) for seed in range(5)}) > 1
    assert len({said(client, temperature=0) for _ in range(3)}) == 1


def test_parts_the_developer_role_and_fields_that_change_nothing(client: OpenAI) -> None:
    reply = '#fake {"reply": "sí"}'
    messages = [
        {"role": "developer", "content": "Sé breve."},
        {
            "role": "user",
            "content": [{"type": "text", "text": reply[:8]}, {"type": "text", "text": reply[8:]}],
        },
    ]
    options: dict[str, Any] = {"user": "u", "n": 1, "store": False, "metadata": {"a": "b"}}
    options |= {"response_format": {"type": "text"}, "tools": [], "logprobs": False}
    options |= {"service_tier": "auto", "presence_penalty": 0.5, "frequency_penalty": -0.5}
    assert said(client, messages, **options) == "sí"


UNSUPPORTED: dict[str, Any] = {
    "n": 2,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": "required",
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"50256": -100},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
    "functions": [{"name": "f"}],
    "reasoning_effort": "high",
    "modalities": ["text", "audio"],
}


@pytest.mark.parametrize("field", UNSUPPORTED)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name(client: OpenAI, field: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, stream=stream, **{field: UNSUPPORTED[field]})
    assert caught.value.param == field
    assert caught.value.code == "unsupported"
    assert field in caught.value.message


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "tool", "content": "x", "tool_call_id": "1"},
        {"role": "assistant", "content": None, "tool_calls": []},
    ],
    ids=["picture", "sound", "tool", "tool calls"],
)
def test_messages_that_cannot_be_read_are_refused(client: OpenAI, message: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, [message])
    assert caught.value.param is not None
    assert caught.value.param.startswith("messages.0")


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-5", messages=HOLA)
    assert (caught.value.code, caught.value.status_code) == ("model_not_found", 404)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="gpt-5", input="x")


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_that_does_not_fit_is_a_bad_request(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, [{"role": "user", "content": "x" * 5000}], stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert "4096" in caught.value.message
    assert "5019 tokens" in caught.value.message


def test_an_answer_that_does_not_fit_names_the_field(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, max_tokens=4096)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.param == "max_completion_tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_that_fails_at_once_is_a_server_error(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError, match="told to fail") as caught:
        ask(client, scripted(after=0, then="error"), stream=stream)
    assert caught.value.status_code == 500


def test_a_generation_that_fails_in_the_stream_gives_what_it_had_and_an_error(
    client: OpenAI,
) -> None:
    texts: list[str] = []

    def read() -> None:
        for chunk in ask(client, scripted(reply="abcdef", after=3), stream=True):
            texts.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - it may break off

    with pytest.raises(openai.APIError, match="told to fail"):
        read()
    assert "".join(texts) == "abc"


def test_a_generation_that_fails_midway_is_a_server_error_for_who_does_not_stream(
    client: OpenAI,
) -> None:
    with pytest.raises(openai.InternalServerError, match="told to fail"):
        ask(client, scripted(reply="abcdef", after=3))


def test_an_id_travels_with_the_request(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="default", messages=HOLA, extra_headers={"X-Request-Id": "trace-7"}
    )
    assert raw.headers["x-request-id"] == "trace-7"
    # The engine made this id, also when the server stands in front of it.
    assert raw.parse().id == "chatcmpl-trace-7"


def test_every_answer_has_an_id(client: OpenAI) -> None:
    first = client.chat.completions.with_raw_response.create(model="default", messages=HOLA)
    second = client.chat.completions.with_raw_response.create(model="default", messages=HOLA)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.parse().id == f"chatcmpl-{first.headers['x-request-id']}"


def test_a_budget_that_runs_out_is_a_timeout(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(
            client,
            scripted(reply="x", first_ms=20_000),
            extra_headers={"X-Maloca-Budget-Ms": "50"},
        )
    assert (caught.value.status_code, caught.value.code) == (504, "budget_exceeded")


def test_nobody_there_is_a_connection_error() -> None:
    with (
        OpenAI(base_url="http://127.0.0.1:1/v1", api_key="none", max_retries=0) as nobody,
        pytest.raises(openai.APIConnectionError),
    ):
        nobody.models.list()


async def test_the_async_client_works_too(live: LiveApp) -> None:
    async with AsyncOpenAI(base_url=live.url + "/v1", api_key="none", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="default", messages=scripted(reply="sí")
        )
        assert answer.choices[0].message.content == "sí"
        stream = await client.chat.completions.create(
            model="default", messages=scripted(reply="sí"), stream=True
        )
        text = ""
        async with aclosing(stream.__aiter__()) as chunks:
            async for chunk in chunks:
                text += chunk.choices[0].delta.content or ""
        assert text == "sí"
        found = await client.embeddings.create(model="embedding", input="hola")
        assert len(found.data[0].embedding) == 8


def test_the_completion_stream_helper_of_the_sdk_works(client: OpenAI) -> None:
    with client.chat.completions.stream(model="default", messages=scripted(reply="hola")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "hola"
    assert "content.delta" in kinds


def test_the_wire_ends_with_done(live: LiveApp) -> None:
    body = {"model": "default", "messages": HOLA, "stream": True}
    answer = httpx.post(live.url + "/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\ndata: [DONE]\n\n")
