from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.faults.clouds import KEY, WORDS
from tests.faults.conftest import Served

from maloca.core.completer import Completion, CompletionRequest, collect
from maloca.core.errors import MalocaError
from maloca.core.messages import Message
from maloca.core.sampling import Sampling
from maloca.server.providers.anthropic import OPEN_ENDED_TOKENS, AnthropicProvider
from maloca.server.providers.openai import OpenAIProvider

TEXT = "".join(WORDS)


def request(content: str = "hola", **sampling: Any) -> CompletionRequest:
    messages = [Message("system", "Sé breve."), Message("user", content)]
    return CompletionRequest(model="default", messages=messages, sampling=Sampling(**sampling))


@asynccontextmanager
async def openai(url: str, **options: Any) -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider(
        base_url=url, **{"key": SecretStr(KEY), "model": "gpt-fake"} | options
    )
    async with aclosing(provider):
        yield provider


@asynccontextmanager
async def anthropic(url: str, **options: Any) -> AsyncIterator[AnthropicProvider]:
    provider = AnthropicProvider(
        base_url=url, **{"key": SecretStr(KEY), "model": "claude-fake"} | options
    )
    async with aclosing(provider):
        yield provider


async def ask_openai(
    at: Served, wanted: CompletionRequest | None = None, **more: Any
) -> Completion:
    async with openai(at[1].url + "/v1", **more) as provider:
        return await collect(provider.complete(wanted or request()))


async def ask_anthropic(
    at: Served, wanted: CompletionRequest | None = None, **more: Any
) -> Completion:
    async with anthropic(at[1].url, **more) as provider:
        return await collect(provider.complete(wanted or request()))


async def test_openai_answers_and_counts(openai_at: Served) -> None:
    answer = await ask_openai(openai_at)
    assert (answer.text, answer.finish_reason) == (TEXT, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 4)
    assert answer.started.model == "gpt-fake-2026"
    [body] = openai_at[0].bodies
    assert body["model"] == "gpt-fake"
    assert body["messages"] == [
        {"role": "system", "content": "Sé breve."},
        {"role": "user", "content": "hola"},
    ]
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


async def test_openai_gets_the_sampling_that_its_models_take(openai_at: Served) -> None:
    sampling = {
        "max_new_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.8,
        "seed": 3,
        "frequency_penalty": 0.1,
        "stop": ("x1", "x2", "x3", "x4", "x5"),
    }
    await ask_openai(openai_at, request(**sampling))
    await ask_openai(openai_at, request(**sampling), sampling=False)
    everything, little = openai_at[0].bodies
    assert everything["max_tokens"] == little["max_tokens"] == 7
    assert (everything["temperature"], everything["top_p"]) == (0.5, 0.8)
    assert (everything["seed"], everything["frequency_penalty"]) == (3, 0.1)
    assert everything["stop"] == ["x1", "x2", "x3", "x4"]
    assert not {"temperature", "top_p", "frequency_penalty", "stop"} & little.keys()


async def test_azure_keeps_its_query_and_has_its_own_header(openai_at: Served) -> None:
    cloud, live = openai_at
    url = live.url + "/openai/deployments/gpt-fake?api-version=2026-01-01"
    async with openai(url, auth="api-key") as provider:
        assert (await collect(provider.complete(request()))).text == TEXT
    path = "/openai/deployments/gpt-fake/chat/completions?api-version=2026-01-01"
    assert cloud.paths == [path]
    assert cloud.headers[0]["api-key"] == KEY
    assert "authorization" not in cloud.headers[0]


async def test_anthropic_answers_and_counts(anthropic_at: Served) -> None:
    answer = await ask_anthropic(anthropic_at)
    assert (answer.text, answer.finish_reason) == (TEXT, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 4)
    assert answer.started.model == "claude-fake"
    [body], [headers] = anthropic_at[0].bodies, anthropic_at[0].headers
    assert body["system"] == "Sé breve."
    assert body["messages"] == [{"role": "user", "content": "hola"}]
    assert headers["anthropic-version"] == "2023-06-01"


async def test_anthropic_gets_the_sampling_that_its_models_take(anthropic_at: Served) -> None:
    sampling = {"max_new_tokens": None, "temperature": 1.5, "stop": ("x", "\n", " ")}
    await ask_anthropic(anthropic_at, request(**sampling))
    await ask_anthropic(anthropic_at, request(**sampling), sampling=True)
    little, everything = anthropic_at[0].bodies
    assert little["max_tokens"] == OPEN_ENDED_TOKENS
    assert little["stop_sequences"] == ["x"]
    assert "temperature" not in little
    assert everything["temperature"] == 1.0


async def test_stop_strings_are_cut_here_too(openai_at: Served, anthropic_at: Served) -> None:
    wanted = request(stop=("sde la",))
    for answer in (await ask_openai(openai_at, wanted), await ask_anthropic(anthropic_at, wanted)):
        assert (answer.text, answer.finish_reason) == ("hola de", "stop")
        assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("choices", "finish", "text"),
    [
        ([{"delta": {"content": "uno"}, "finish_reason": "length"}], "length", "uno"),
        ([{"delta": {"refusal": "No."}, "finish_reason": "stop"}], "stop", "No."),
        ([{"delta": {"content": None}, "finish_reason": "stop"}], "stop", ""),
        ([{"delta": {"content": "a"}, "finish_reason": "content_filter"}], "stop", "a"),
    ],
)
async def test_openai_ends(
    openai_at: Served, choices: list[dict[str, Any]], finish: str, text: str
) -> None:
    openai_at[0].script = [{"model": "m", "choices": choices}]
    answer = await ask_openai(openai_at)
    assert (answer.finish_reason, answer.text) == (finish, text)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ([{"choices": [{"delta": {"content": "a"}}]}], 502, "stream_broken"),
        ([{"choices": []}], 502, "stream_broken"),
        ([{"error": {"message": "Oops", "code": "server_error"}}], 502, "provider_failed"),
        ([{"error": {"message": "Oops", "code": "rate_limit_exceeded"}}], 429, "limited"),
        ([{"error": {"message": "Oops", "code": 400}}], 400, "refused"),
        ([{"error": "Oops"}], 502, "provider_failed"),
        (
            [{"choices": [{"delta": {}, "finish_reason": "content_filter"}]}],
            422,
            "content_filtered",
        ),
        ([{"choices": "nonsense"}], 502, "stream_broken"),
        ([{"choices": ["nonsense"]}], 502, "stream_broken"),
        (["nonsense"], 502, "stream_malformed"),
    ],
)
async def test_openai_fails(openai_at: Served, script: list[Any], status: int, code: str) -> None:
    openai_at[0].script = script
    with pytest.raises(MalocaError) as caught:
        await ask_openai(openai_at)
    assert (caught.value.info.status, caught.value.info.code) == (status, code)


START = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}
STOP = {"type": "message_stop"}


def ended(reason: str | None) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {}}


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ([START, ended("end_turn")], 502, "stream_broken"),
        ([START, STOP], 502, "stream_broken"),
        (
            [START, {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}],
            502,
            "provider_failed",
        ),
        ([{"type": "error", "error": {"type": "rate_limit_error"}}], 429, "limited"),
        ([{"type": "error"}], 502, "provider_failed"),
        ([START, ended("refusal"), STOP], 422, "content_filtered"),
        ([{"type": "unheard-of"}], 502, "stream_broken"),
    ],
)
async def test_anthropic_fails(
    anthropic_at: Served, script: list[dict[str, Any]], status: int, code: str
) -> None:
    anthropic_at[0].script = script
    with pytest.raises(MalocaError) as caught:
        await ask_anthropic(anthropic_at)
    assert (caught.value.info.status, caught.value.info.code) == (status, code)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_tokens", "length"), ("model_context_window_exceeded", "length"), ("new_one", "stop")],
)
async def test_anthropic_ends(anthropic_at: Served, reason: str, finish: str) -> None:
    anthropic_at[0].script = [START, ended(reason), STOP]
    assert (await ask_anthropic(anthropic_at)).finish_reason == finish


async def test_too_long_is_the_callers_own_mistake(openai_at: Served) -> None:
    with pytest.raises(MalocaError) as caught:
        await ask_openai(openai_at, request("too long"))
    info = caught.value.info
    assert (info.status, info.code, info.param) == (422, "context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("Fri, 01 Jan 2021 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("9" * 400, None),
    ],
)
async def test_retry_after_in_all_its_forms(header: str, seconds: float | None) -> None:
    def limited(_: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": header}, json={"error": None})

    async with openai("http://cloud.test/v1", transport=httpx.MockTransport(limited)) as provider:
        with pytest.raises(MalocaError) as caught:
            await collect(provider.complete(request()))
    assert (caught.value.info.status, caught.value.info.retry_after) == (429, seconds)


async def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    def redirect(wanted: httpx.Request) -> httpx.Response:
        seen.append(str(wanted.url))
        return httpx.Response(307, headers={"Location": "http://evil.test/"})

    async with openai("http://cloud.test/v1", transport=httpx.MockTransport(redirect)) as provider:
        with pytest.raises(MalocaError) as caught:
            await collect(provider.complete(request()))
    assert caught.value.info.status == 502
    assert seen == ["http://cloud.test/v1/chat/completions"]


async def test_the_key_is_in_no_error_no_repr_and_no_log(
    openai_at: Served, anthropic_at: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with openai(openai_at[1].url + "/v1") as one, anthropic(anthropic_at[1].url) as two:
        for provider in (one, two):
            assert KEY not in repr(provider)
            assert KEY not in repr(vars(provider))
            await collect(provider.complete(request()))
            await provider.check()
        with pytest.raises(MalocaError) as quoted:
            # This cloud quotes the key in its error.
            await collect(one.complete(request("echo")))
    assert "(hidden)" in quoted.value.info.message
    wrong = SecretStr(KEY + "-but-wrong")
    for ask, at in ((ask_openai, openai_at), (ask_anthropic, anthropic_at)):
        with pytest.raises(MalocaError) as refused:
            await ask(at, key=wrong)
        assert refused.value.info.code == "provider_refuses_key"
        assert KEY not in repr(refused.value.info) + repr(refused.value.__context__)
    assert caplog.records
    assert KEY not in caplog.text
    assert KEY not in json.dumps([str(record.args) for record in caplog.records])


async def test_what_counts_as_this_machine() -> None:
    for url, local in (
        ("http://127.0.0.1:9000/v1", True),
        ("http://localhost:9000/v1", True),
        ("http://[::1]:9000/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://192.168.1.7:8000/v1", False),
        ("http://127.0.0.1.evil.test/v1", False),
    ):
        async with openai(url) as provider:
            assert provider.local is local


async def test_leaving_stops_the_cloud(openai_at: Served) -> None:
    async with openai(openai_at[1].url + "/v1") as provider:
        events = provider.complete(request())
        assert await anext(events)
        await asyncio.wait_for(events.aclose(), 5)
        assert (await collect(provider.complete(request()))).text == TEXT
