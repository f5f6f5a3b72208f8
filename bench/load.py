"""A lean load generator: chat streams over raw sockets, timed from the first byte sent."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

OPENAI: Final = "/v1/chat/completions"
NATIVE: Final = "/api/llm/generate"
PAGE: Final = "/chats/stream"


@dataclass(slots=True)
class Stream:
    """What one stream looked like from outside.

    Attributes:
        ttft: Seconds from sending the request to the first content.
        seconds: Seconds from sending the request to the usage that follows the last content.
        tokens: Completion tokens, as the service counted them.
        arrivals: When each piece of content came, in seconds from sending the request.
    """

    ttft: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    arrivals: list[float] = field(default_factory=list)

    @property
    def decode_rate(self) -> float:
        """Tokens per second after the first."""
        return (self.tokens - 1) / (self.seconds - self.ttft)


async def chat(url: str, prompt: str, new_tokens: int, *, path: str = OPENAI) -> Stream:
    """Stream one greedy answer; the native routes answer with exactly `new_tokens` tokens.

    Raises:
        RuntimeError: The service refused, or the stream ended without usage.
    """
    body: dict[str, Any] = {
        "model": "default",
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "temperature": 0,
    }
    if path == OPENAI:
        body |= {"max_tokens": new_tokens, "stream_options": {"include_usage": True}}
    else:
        body |= {"max_new_tokens": new_tokens, "ignore_eos": True}
    return await _send(url, path, json.dumps(body).encode())


async def total_rate(url: str, prompts: list[str], new_tokens: int, *, path: str) -> float:
    """Stream all prompts at the same time; return completion tokens per second, all together."""
    began = time.perf_counter()
    streams = await asyncio.gather(*(chat(url, p, new_tokens, path=path) for p in prompts))
    return sum(stream.tokens for stream in streams) / (time.perf_counter() - began)


async def _send(url: str, path: str, body: bytes) -> Stream:
    parts = urlsplit(url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
    try:
        began = time.perf_counter()
        writer.write(head.encode() + body)
        return await _read(reader, began)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, began: float) -> Stream:
    stream = Stream()
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError((status + await reader.read()).decode(errors="replace"))
    while line := await reader.readline():
        if not line.startswith(b"data: {"):
            continue
        now = time.perf_counter() - began
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise RuntimeError(str(chunk["error"]))
        if _content(chunk):
            stream.ttft = stream.ttft or now
            stream.arrivals.append(now)
        tokens = (chunk.get("usage") or chunk).get("completion_tokens")
        if tokens:
            stream.tokens, stream.seconds = tokens, now
    if not stream.tokens:
        raise RuntimeError("the stream ended without usage")
    return stream


def _content(chunk: dict[str, Any]) -> str | None:
    """Return the text of a chunk in either dialect."""
    if chunk.get("event") == "delta":
        text: str = chunk["text"]
        return text
    choices = chunk.get("choices")
    return choices[0]["delta"].get("content") if choices else None
