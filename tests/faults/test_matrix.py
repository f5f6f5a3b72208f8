"""Every provider behind a proxy that breaks its hop: who answers, how soon, after how many."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.conftest import LiveApp
from tests.faults.clouds import KEY, WORDS
from tests.faults.conftest import Served
from tests.faults.proxy import Fault, FaultProxy, fault_proxy

from maloca.asgi.application import new_app
from maloca.client.engine import EngineClient
from maloca.core.settings import Settings
from maloca.dialects.openai import routes as openai
from maloca.server.chats import endpoints as chats
from maloca.server.providers.anthropic import AnthropicProvider
from maloca.server.providers.attempt import Timers
from maloca.server.providers.base import Provider
from maloca.server.providers.breaker import Breaker
from maloca.server.providers.chain import Link, ProviderChain
from maloca.server.providers.egress import Egress
from maloca.server.providers.engine import EngineProvider, StandbyProvider
from maloca.server.providers.openai import OpenAIProvider

pytestmark = pytest.mark.process

PROVIDERS: Final = ("engine", "standby", "openai", "anthropic")
REPLY: Final = "hola desde casa"
# Wide enough for a sound provider on a busy machine, short enough to wait for a broken one.
TIMERS: Final = Timers(first_token=1.5, idle=1.5, total=60.0)
# For a chain in which nobody answers, so that nobody needs the time.
HASTY: Final = Timers(first_token=0.3, idle=0.3, total=60.0)
# What may be spent at most, with a wide margin for a busy machine.
BUDGET_SECONDS: Final = 40.0
FIRST_TEXT: Final = {
    "engine": b'"event":"delta"',
    "standby": b'"event":"delta"',
    "openai": b'"content": "hola"',
    "anthropic": b'"text": "hola"',
}
# Before the first piece of text: somebody else answers. The reason is what the answer tells.
EARLY: Final = {
    "refuse": (Fault(kind="refuse"), {"engine_unreachable", "provider_unreachable"}),
    "reset": (Fault(kind="reset"), {"engine_unreachable", "provider_unreachable"}),
    "blackhole": (Fault(kind="blackhole"), {"first_token_timeout"}),
    "slow": (Fault(kind="latency", seconds=5.0), {"first_token_timeout"}),
    "stall": (Fault(kind="stall"), {"first_token_timeout"}),
    "cut in the head": (
        Fault(kind="cut", at=10),
        {"engine_unreachable", "provider_unreachable"},
    ),
    "cut before text": (
        Fault(kind="cut", at=200),
        {"engine_unreachable", "provider_unreachable", "stream_broken"},
    ),
    "malformed": (Fault(kind="malformed"), {"engine_unreachable", "stream_malformed"}),
    "drip": (Fault(kind="drip", seconds=1.0), {"first_token_timeout"}),
    "429": (
        Fault(kind="status", status=429, head="Retry-After: 7\r\n"),
        {"made_up", "limited"},
    ),
    "500": (Fault(kind="status", status=500), {"made_up", "provider_failed"}),
    "503": (Fault(kind="status", status=503), {"made_up", "provider_failed"}),
    "401": (Fault(kind="status", status=401), {"engine_refuses", "provider_refuses_key"}),
    "empty 200": (Fault(kind="empty"), {"stream_broken"}),
}


@dataclasses.dataclass
class House:
    """A server with one provider behind a proxy, and perhaps another one behind it."""

    http: httpx.AsyncClient
    proxy: FaultProxy
    backup: FaultProxy

    async def ask(self, *, stream: bool) -> httpx.Response:
        content = f"#fake {json.dumps({'reply': REPLY, 'delay_ms': 5})}"
        body = {"model": "default", "messages": [{"role": "user", "content": content}]}
        headers = {"X-Maloca-Privacy": "cloud-allowed"}
        async with asyncio.timeout(BUDGET_SECONDS):
            return await self.http.post(
                "/v1/chat/completions", json=body | {"stream": stream}, headers=headers
            )


class Houses:
    """Builds them, and takes them down."""

    def __init__(self, stack: AsyncExitStack, targets: dict[str, str]) -> None:
        self._stack = stack
        self._targets = targets

    async def build(self, name: str, fault: Fault, *, backup: bool = True) -> House:
        proxy = await self._stack.enter_async_context(fault_proxy(self._targets[name], fault))
        second = await self._stack.enter_async_context(fault_proxy(self._targets["engine"]))
        providers = [await self._provider(name, proxy.url)]
        if backup:
            other = "standby" if name == "engine" else "engine"
            providers.append(await self._provider(other, second.url))
        chain = ProviderChain(
            [Link(provider, Breaker()) for provider in providers],
            egress=Egress(allowed=True),
            timers=TIMERS if backup else HASTY,
        )
        transport = httpx.ASGITransport(app=_WithState(_app(), {"completer": chain}))
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        await self._stack.enter_async_context(http)
        return House(http, proxy, second)

    async def _provider(self, name: str, url: str) -> Provider:
        provider: Provider
        match name:
            case "engine":
                client = await self._stack.enter_async_context(EngineClient(url))
                provider = EngineProvider(client)
            case "standby":
                provider = StandbyProvider(EngineClient(url))
            case "openai":
                provider = OpenAIProvider(base_url=url + "/v1", key=SecretStr(KEY), model="gpt")
            case _:
                provider = AnthropicProvider(base_url=url, key=SecretStr(KEY), model="claude")
        self._stack.push_async_callback(provider.aclose)
        return provider


class _WithState:
    """Gives every request the state that a lifespan would."""

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope | {"state": dict(self._state)}, receive, send)


def _app() -> FastAPI:
    app = new_app(
        title="Chain",
        description="A chain of providers.",
        settings=Settings.load(),
        registry=CollectorRegistry(),
        lifespan=lambda _: AsyncExitStack(),
    )
    app.include_router(openai.router)
    app.include_router(chats.router)
    return app


@pytest.fixture
async def houses(
    live_engine: LiveApp, openai_at: Served, anthropic_at: Served
) -> AsyncIterator[Houses]:
    targets = {
        "engine": live_engine.url,
        "standby": live_engine.url,
        "openai": openai_at[1].url,
        "anthropic": anthropic_at[1].url,
    }
    async with AsyncExitStack() as stack:
        yield Houses(stack, targets)


def text_of(response: httpx.Response) -> tuple[str, list[str]]:
    """Return the text of an answer, and how often it ended and how."""
    if "event-stream" not in response.headers["content-type"]:
        [choice] = response.json()["choices"]
        return choice["message"]["content"], [choice["finish_reason"]]
    lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    text, ends = "", []
    for line in lines:
        if line == "[DONE]":
            continue
        chunk = json.loads(line)
        if "error" in chunk:
            ends.append("error")
            continue
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
            ends += [choice["finish_reason"]] if choice["finish_reason"] else []
    return text, ends


def words_of(name: str) -> str:
    return REPLY if name in {"engine", "standby"} else "".join(WORDS)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", EARLY)
async def test_a_fault_before_the_text_is_answered_by_the_next(
    houses: Houses, name: str, fault: str, stream: bool
) -> None:
    what, reasons = EARLY[fault]
    house = await houses.build(name, what)
    response = await house.ask(stream=stream)
    assert response.status_code == 200, response.text
    assert text_of(response) == (REPLY, ["stop"])
    backup = "standby" if name == "engine" else "engine"
    assert response.headers["x-maloca-answered-by"] == backup
    who, _, reason = response.headers["x-maloca-skipped"].partition("=")
    assert who == name
    assert reason in reasons
    assert house.proxy.requests == (0 if fault == "refuse" else 1)
    assert house.backup.requests == 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", EARLY)
async def test_a_fault_that_nobody_makes_good_keeps_its_status(
    houses: Houses, name: str, fault: str, stream: bool
) -> None:
    house = await houses.build(name, EARLY[fault][0], backup=False)
    response = await house.ask(stream=stream)
    expected = {"429": {429}, "500": {500}}.get(fault, {502, 503, 504})
    assert response.status_code in expected, response.text
    error = response.json()["error"]
    assert error["message"]
    assert KEY not in response.text
    assert "x-maloca-answered-by" not in response.headers
    assert house.backup.requests == 0
    if fault == "429":
        assert response.headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_an_answer_that_breaks_off_is_never_continued_by_another(
    houses: Houses, name: str, stream: bool
) -> None:
    house = await houses.build(name, Fault(kind="cut", after=FIRST_TEXT[name]))
    response = await house.ask(stream=stream)
    assert house.backup.requests == 0
    if stream:
        text, ends = text_of(response)
        assert response.status_code == 200
        assert ends == ["error"]
        assert text
        assert words_of(name).startswith(text)
        assert text != words_of(name)
        assert "[DONE]" not in response.text
        assert response.headers["x-maloca-answered-by"] == name
    else:
        # Nothing has been sent yet, so that the failure still has its status.
        assert response.status_code in {502, 503}
        assert response.json()["error"]["code"] in {"stream_broken", "provider_unreachable"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "fault", [Fault(), Fault(kind="latency", seconds=0.1)], ids=["none", "late"]
)
async def test_whoever_answers_in_time_is_not_replaced(
    houses: Houses, name: str, fault: Fault, stream: bool
) -> None:
    house = await houses.build(name, fault)
    response = await house.ask(stream=stream)
    assert text_of(response) == (words_of(name), ["stop"])
    assert response.headers["x-maloca-answered-by"] == name
    assert "x-maloca-skipped" not in response.headers
    assert (house.proxy.requests, house.backup.requests) == (1, 0)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_connections_are_used_again(houses: Houses, name: str) -> None:
    house = await houses.build(name, Fault())
    for _ in range(3):
        await house.ask(stream=True)
    assert house.proxy.connections == 1
