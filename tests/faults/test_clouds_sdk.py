"""The fake clouds are what the official SDKs expect of the real ones."""

from __future__ import annotations

import anthropic
import openai
import pytest
from tests.faults.clouds import KEY, WORDS
from tests.faults.conftest import Served


async def test_the_openai_sdk_reads_the_fake_as_openai(openai_at: Served) -> None:
    _, live = openai_at
    async with openai.AsyncOpenAI(base_url=live.url + "/v1", api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="gpt-fake",
            messages=[{"role": "user", "content": "hola"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "".join(WORDS)
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 15


async def test_the_openai_sdk_knows_the_fakes_errors(openai_at: Served) -> None:
    _, live = openai_at
    url = live.url + "/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.chat.completions.create(
                model="gpt-fake", messages=[{"role": "user", "content": "hola"}]
            )
    assert refused.value.code == "invalid_api_key"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as too_long:
            await client.chat.completions.create(
                model="gpt-fake", messages=[{"role": "user", "content": "too long"}]
            )
    assert too_long.value.code == "context_length_exceeded"


async def test_the_anthropic_sdk_reads_the_fake_as_anthropic(anthropic_at: Served) -> None:
    _, live = anthropic_at
    async with (
        anthropic.AsyncAnthropic(base_url=live.url, api_key=KEY, max_retries=0) as client,
        client.messages.stream(
            model="claude-fake", max_tokens=10, messages=[{"role": "user", "content": "hola"}]
        ) as stream,
    ):
        message = await stream.get_final_message()
    [block] = message.content
    assert block.type == "text"
    assert block.text == "".join(WORDS)
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 4)


async def test_the_anthropic_sdk_knows_the_fakes_errors(anthropic_at: Served) -> None:
    _, live = anthropic_at
    async with anthropic.AsyncAnthropic(
        base_url=live.url, api_key="wrong", max_retries=0
    ) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(
                model="claude-fake", max_tokens=10, messages=[{"role": "user", "content": "hola"}]
            )
