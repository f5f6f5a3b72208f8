"""Clouds on loopback that speak the wire formats of their documentation.

OpenAI: https://platform.openai.com/docs/api-reference/chat/create (streaming chunks, errors).
Anthropic: https://docs.anthropic.com/en/docs/build-with-claude/streaming and …/api/errors.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

KEY: Final = "sk-canary-8f31c2d7e9a04b56"
WORDS: Final = ("hola", " desde", " la", " nube")


@dataclass
class Cloud:
    """A fake cloud and what it was sent."""

    app: FastAPI
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    # Events that take the place of the usual ones.
    script: list[dict[str, Any]] | None = None

    def note(self, request: Request, body: dict[str, Any]) -> None:
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(f"{request.url.path}?{request.url.query}".rstrip("?"))


def _stream(parts: list[bytes]) -> Response:
    async def write() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return StreamingResponse(write(), media_type="text/event-stream")


def openai_cloud() -> Cloud:
    """Return a cloud that speaks chat completions."""
    app = FastAPI(title="Fake OpenAI")
    cloud = Cloud(app)

    def chunk(choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-fake-2026",
            "service_tier": "default",
            "system_fingerprint": "fp_1",
            "choices": choices,
            "usage": None,
        } | more

    def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}

    def refusal(status: int, code: str, kind: str, message: str) -> Response:
        error = {"message": message, "type": kind, "param": None, "code": code}
        return JSONResponse({"error": error}, status_code=status)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": []}

    @app.post("/v1/chat/completions")
    @app.post("/openai/deployments/gpt-fake/chat/completions")
    async def complete(request: Request) -> Response:
        body = await request.json()
        cloud.note(request, body)
        given = request.headers.get("authorization"), request.headers.get("api-key")
        if given not in {(f"Bearer {KEY}", None), (None, KEY)}:
            shown = f"Incorrect API key provided: {given[0]}."
            return refusal(401, "invalid_api_key", "invalid_request_error", shown)
        if body["messages"][-1]["content"] == "too long":
            return refusal(400, "context_length_exceeded", "invalid_request_error", "Too long.")
        if body["messages"][-1]["content"] == "echo":
            return refusal(503, "server_error", "server_error", f"I know {given}.")
        events = cloud.script or [
            chunk([choice({"role": "assistant", "content": "", "refusal": None})]),
            *(chunk([choice({"content": word})]) for word in WORDS),
            chunk([choice({}, "stop")]),
            chunk(
                [],
                usage={"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15},
            ),
        ]
        parts = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
        return _stream([*parts, b"data: [DONE]\n\n"])

    return cloud


def anthropic_cloud() -> Cloud:
    """Return a cloud that speaks messages."""
    app = FastAPI(title="Fake Anthropic")
    cloud = Cloud(app)

    def refusal(status: int, kind: str, message: str) -> Response:
        body = {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_1",
        }
        return JSONResponse(body, status_code=status)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"data": [], "has_more": False, "first_id": None, "last_id": None}

    @app.post("/v1/messages")
    async def messages(request: Request) -> Response:
        body = await request.json()
        cloud.note(request, body)
        given = request.headers.get("x-api-key"), request.headers.get("authorization")
        # The documentation has the first form, the current SDK sends the second.
        if given not in {(KEY, None), (None, f"Bearer {KEY}")}:
            return refusal(401, "authentication_error", "invalid x-api-key")
        if "anthropic-version" not in request.headers or "max_tokens" not in body:
            return refusal(400, "invalid_request_error", "something is missing")
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-fake",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 1},
        }
        text = {"type": "text", "text": ""}
        events = cloud.script or [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": text},
            {"type": "ping"},
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": word},
                }
                for word in WORDS
            ),
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 4},
            },
            {"type": "message_stop"},
        ]
        return _stream(
            [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
        )

    return cloud
