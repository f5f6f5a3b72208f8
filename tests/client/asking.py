"""Requests to the engine's client."""

from __future__ import annotations

import json
from typing import Any

from maloca.client.engine import EngineClient
from maloca.core.completer import CompletionRequest
from maloca.core.events import Event
from maloca.core.messages import Message


def request(content: str = "hola", **options: Any) -> CompletionRequest:
    messages = [Message("system", "Sé breve."), Message("user", content)]
    return CompletionRequest(model="default", messages=messages, **options)


def script(**what: Any) -> str:
    return f"#fake {json.dumps(what)}"


async def ask(client: EngineClient, wanted: CompletionRequest) -> list[Event]:
    return [event async for event in client.complete(wanted)]
