"""`/predict/ws`: prompts in, events out, and a way to stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conftest import LiveApp
from tests.observe import until_idle, until_metric
from tests.server.inference.conftest import Build, House, script
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.process

SLOW = script(reply="a" * 200, delay_ms=50)
ENDS = {"done", "cancelled", "failed"}


class Socket:
    """A socket that speaks JSON."""

    def __init__(self, raw: ClientConnection) -> None:
        self.raw = raw

    async def send(self, what: Any) -> None:
        await self.raw.send(what if isinstance(what, str | bytes) else json.dumps(what))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            event: dict[str, Any] = json.loads(await self.raw.recv())
            return event

    async def until(self, name: str) -> list[dict[str, Any]]:
        events = [await self.next()]
        while events[-1]["event"] != name:
            assert events[-1]["event"] not in ENDS, events[-1]
            events.append(await self.next())
        return events

    async def ask(self, prompt: str, **options: Any) -> list[dict[str, Any]]:
        await self.send({"prompt": prompt} | options)
        return await self.until("done")


@asynccontextmanager
async def opened(house: House, **headers: str) -> AsyncGenerator[Socket, None]:
    url = house.url.replace("http", "ws") + "/predict/ws"
    async with connect(url, additional_headers=headers) as raw:
        yield Socket(raw)


async def test_prompts_are_answered_one_after_another(house: House) -> None:
    async with opened(house) as socket:
        for reply in ("El fuego", "ɨ 🔥"):
            events = await socket.ask(script(reply=reply))
            assert events[0]["event"] == "started"
            assert events[0]["answered_by"] == "engine"
            assert [e["event"] for e in events[1:] if e["event"] != "delta"] == ["usage", "done"]
            assert "".join(event.get("text", "") for event in events) == reply


async def test_a_cancel_stops_the_answer_and_keeps_the_socket(
    house: House, live_engine: LiveApp
) -> None:
    async with opened(house) as socket:
        await socket.send({"prompt": SLOW})
        await socket.until("delta")
        await socket.send({"type": "cancel"})
        await socket.until("cancelled")
        await until_idle(live_engine.url)
        # A second cancel has nothing to stop, and says nothing.
        await socket.send({"type": "cancel"})
        events = await socket.ask(script(reply="hola"))
        assert events[0]["event"] == "started"


async def test_one_answer_at_a_time(house: House, live_engine: LiveApp) -> None:
    async with opened(house) as socket:
        await socket.send({"prompt": SLOW})
        await socket.until("delta")
        await socket.send({"prompt": "hola"})
        refused = (await socket.until("error"))[-1]
        assert refused["error"]["code"] == "busy"
        await socket.send({"type": "cancel"})
        await socket.until("cancelled")
    await until_idle(live_engine.url)


async def test_leaving_stops_the_answer(house: House, live_engine: LiveApp) -> None:
    async with opened(house) as socket:
        await socket.send({"prompt": SLOW})
        await until_metric(live_engine.url, "maloca_requests_running", 1, model="fake")
    await until_idle(live_engine.url)


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("{", "invalid_json", None),
        ("", "invalid_json", None),
        ("[" * 100_000, "invalid_json", None),
        ('{"prompt": NaN}', "invalid_json", None),
        ("[]", "invalid_request", None),
        ("{}", "invalid_request", "prompt"),
        ('{"prompt": ""}', "invalid_request", "prompt"),
        ('{"prompt": "a", "max_length": 0}', "invalid_request", "max_length"),
        ('{"prompt": "a", "tipo": 1}', "invalid_request", "tipo"),
        ('{"prompt": "a", "num_return_sequences": 2}', "invalid_request", "num_return_sequences"),
        ('{"type": "dance"}', "invalid_request", "prompt"),
    ],
)
async def test_a_wrong_message_is_answered_and_the_socket_lives(
    house: House, message: str, code: str, param: str | None
) -> None:
    async with opened(house) as socket:
        await socket.send(message)
        answer = await socket.next()
        assert answer["event"] == "error"
        assert answer["error"]["code"] == code
        assert answer["error"]["param"] == param
        assert (await socket.ask(script(reply="hola")))[-1]["event"] == "done"


async def test_bytes_are_not_understood(house: House) -> None:
    async with opened(house) as socket:
        await socket.send(b"\x00\x01")
        with pytest.raises(ConnectionClosed) as caught:
            await socket.next()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


async def test_a_message_over_the_limit_is_refused(build: Build) -> None:
    house = build(max_body_bytes=2000)
    async with opened(house) as socket:
        await socket.send({"prompt": "a" * 3000})
        assert (await socket.next())["error"]["code"] == "body_too_large"


async def test_a_prompt_that_fails_ends_once(house: House) -> None:
    async with opened(house) as socket:
        await socket.send({"prompt": "hola", "model": "nobody"})
        ended = await socket.next()
        assert (ended["event"], ended["error"]["code"]) == ("failed", "model_not_found")
        await socket.send({"prompt": script(reply="abc", after=1, then="error")})
        names = [event["event"] for event in await socket.until("failed")]
        assert names == ["started", "delta", "failed"]
        await socket.ask(script(reply="hola"))


async def test_prompts_are_limited_like_predict(build: Build) -> None:
    house = build(rate_limit_requests=2)
    async with opened(house) as socket:
        await socket.ask("hola")
        assert house.post().status_code == 200
        await socket.send({"prompt": "hola"})
        ended = await socket.next()
        assert (ended["event"], ended["error"]["code"]) == ("failed", "rate_limited")
        assert ended["error"]["retry_after"] > 0


async def test_pages_of_strangers_do_not_get_in(house: House) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with opened(house, Origin="http://evil.example"):
            pass
    assert caught.value.response.status_code == 403


async def test_a_key_revoked_meanwhile_ends_the_socket(build: Build) -> None:
    house = build()
    ana = await asyncio.to_thread(house.people.add, "ana")
    async with opened(house, **ana.headers) as socket:
        await socket.ask("hola")
        await asyncio.to_thread(house.people.revoke, ana)
        await socket.send({"prompt": "hola"})
        assert (await socket.next())["error"]["code"] == "invalid_token"
        with pytest.raises(ConnectionClosed) as caught:
            await socket.next()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


async def test_stopping_the_server_ends_an_answer(build: Build, live_engine: LiveApp) -> None:
    house = build()
    async with opened(house) as socket:
        await socket.send({"prompt": SLOW})
        await socket.until("delta")
        await asyncio.to_thread(house.stop)
    await until_idle(live_engine.url)
