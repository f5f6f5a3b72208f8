"""Asking through the official OpenAI SDK."""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI

HOLA: Any = [{"role": "user", "content": "hola"}]


def scripted(**script: Any) -> Any:
    """Return messages that make the fake model do what the script says."""
    return [{"role": "user", "content": f"#fake {json.dumps(script)}"}]


def ask(client: OpenAI, messages: Any = HOLA, **options: Any) -> Any:
    return client.chat.completions.create(model="default", messages=messages, **options)


def said(client: OpenAI, messages: Any = HOLA, **options: Any) -> str:
    text = ask(client, messages, **options).choices[0].message.content
    assert isinstance(text, str)
    return text
