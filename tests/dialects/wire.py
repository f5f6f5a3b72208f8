"""The routes that take a body, what they accept, and the one shape of their errors."""

from __future__ import annotations

from typing import Any, Final

import httpx

HOLA: Final = [{"role": "user", "content": "hola"}]
CHAT_ROUTES: Final[dict[tuple[str, str], dict[str, Any]]] = {
    ("live_engine", "/api/llm/generate"): {"messages": HOLA},
    ("live_server", "/chats/stream"): {"messages": HOLA},
    ("live_engine", "/v1/chat/completions"): {"model": "default", "messages": HOLA},
    ("live_server", "/v1/chat/completions"): {"model": "default", "messages": HOLA},
}
ROUTES: Final[dict[tuple[str, str], dict[str, Any]]] = CHAT_ROUTES | {
    ("live_engine", "/api/llm/embed"): {"texts": ["hola"]},
    ("live_engine", "/api/llm/tokenize"): {"text": "hola"},
    ("live_engine", "/v1/embeddings"): {"model": "embedding", "input": "hola"},
    ("live_server", "/v1/embeddings"): {"model": "embedding", "input": "hola"},
}


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a response that has exactly the shape of one."""
    body = response.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert list(error) == ["message", "type", "code", "param", "hint"]
    assert error["message"]
    assert len(error["message"]) < 1000
    assert response.headers["x-request-id"]
    return error


def assert_refused(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a request that can never work."""
    assert 400 <= response.status_code < 500, response.text
    if "/v1/" in str(response.url):
        assert response.status_code != 422, "OpenAI's API says 400"
    return error_of(response)
