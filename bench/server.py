"""What the server adds to an instant engine, cached answers, and many streams at once."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from bench.load import NATIVE, PAGE, chat
from bench.report import Report, median, percentile
from bench.services import free_port, service

RATE: Final = 100
STREAMS: Final = 200
PAUSE_MS: Final = 250
CLIENTS: Final = 8
_PREDICT: Final = json.dumps({"prompt": "5", "temperature": 0}).encode()


def main() -> None:
    """Run everything, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="length of each measurement")
    seconds = parser.parse_args().seconds
    report = Report("server", "The server before an instant engine", ("direct", "server"))
    with tempfile.TemporaryDirectory(prefix="maloca-bench-") as folder, instant_engine() as engine:
        settings = {
            "MALOCA_ENGINE_URL": engine,
            "MALOCA_DATABASE_URL": f"sqlite:///{Path(folder) / 'maloca.db'}",
            "MALOCA_RATE_LIMIT_REQUESTS": "1000000",
        }
        models = Path(folder)
        with (
            service("server", "serve", models_dir=models, **settings) as one,
            service("server", "serve", models_dir=models, **settings) as two,
        ):
            asyncio.run(first_tokens(report, engine, one, seconds))
            asyncio.run(cached(report, [one, two], seconds))
            asyncio.run(streams(report, one, seconds))
    report.finish()


@contextlib.contextmanager
def instant_engine() -> Iterator[str]:
    """Run the engine that costs nothing; yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    child = subprocess.Popen([sys.executable, "-m", "bench.instant_engine", str(port)])
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url + "/health").is_success:
                    break
            time.sleep(0.05)
        yield url
    finally:
        child.terminate()
        child.wait(30)


async def first_tokens(report: Report, engine: str, server: str, seconds: int) -> None:
    """Compare the first token with and without the server, at a steady rate of requests."""
    found = []
    for url, path in ((engine, NATIVE), (server, PAGE)):
        await _at_a_rate(url, path, 1)  # warm-up
        found.append(await _at_a_rate(url, path, seconds))
    for percent in (50, 99):
        direct, through = (1000 * percentile(values, percent) for values in found)
        report.row(f"TTFT p{percent}, {RATE} requests/s", direct, through, unit="ms")
        limit = 3 if percent == 50 else 10
        report.target(f"added TTFT p{percent}", through - direct, at_most=limit, unit="ms")


async def _at_a_rate(url: str, path: str, seconds: int) -> list[float]:
    tasks = []
    began = time.perf_counter()
    for number in range(RATE * seconds):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        tasks.append(asyncio.create_task(chat(url, "5", 5, path=path)))
    return [stream.ttft for stream in await asyncio.gather(*tasks)]


async def cached(report: Report, servers: list[str], seconds: int) -> None:
    """Measure a cached answer: alone, and as fast as two workers give it."""
    alone: list[float] = []
    await _repeat(servers[0], alone, 1)
    alone.clear()
    await _repeat(servers[0], alone, seconds)
    report.row("cached /predict p50, one client", None, 1000 * median(alone), unit="ms")
    report.target("cached /predict p50", 1000 * median(alone), at_most=2, unit="ms")
    together: list[float] = []
    clients = [_repeat(servers[n % 2], together, seconds) for n in range(CLIENTS)]
    await asyncio.gather(*clients)
    rate = len(together) / seconds
    report.row(f"cached /predict, {CLIENTS} clients, 2 workers", None, rate, unit="requests/s")
    report.at_least("cached /predict with two workers", rate, 1000, unit="requests/s")


async def _repeat(url: str, took: list[float], seconds: float) -> None:
    """Ask for the same answer on one connection until the time is over."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(_PREDICT)}\r\n\r\n"
    )
    deadline = time.perf_counter() + seconds
    try:
        while (began := time.perf_counter()) < deadline:
            writer.write(head.encode() + _PREDICT)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise RuntimeError(body.decode())
            took.append(time.perf_counter() - began)
    finally:
        writer.close()


async def streams(report: Report, server: str, seconds: int) -> None:
    """Keep many streams open, and look at every word of each, while one client does not read."""
    words = seconds * 1000 // PAUSE_MS
    parts = urlsplit(server)
    _, stalled = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
    body = json.dumps({"messages": [{"role": "user", "content": "1000000"}]}).encode()
    head = f"POST {PAGE} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    stalled.write(head.encode() + body)
    answers = await asyncio.gather(*(_words(server, words) for _ in range(STREAMS)))
    stalled.close()
    wanted = "".join(f"{number} " for number in range(words))
    damaged = sum(answer != wanted for answer in answers)
    report.row(f"{STREAMS} streams for {seconds} s, damaged", None, damaged, unit="streams")
    report.target("damaged streams beside a stalled reader", damaged, at_most=0, unit="streams")


async def _words(server: str, words: int) -> str:
    """Return everything that one stream said."""
    body = {"messages": [{"role": "user", "content": f"{words} {PAUSE_MS}"}]}
    async with (
        httpx.AsyncClient(timeout=120, trust_env=False) as client,
        client.stream("POST", server + PAGE, json=body) as answer,
    ):
        lines = [line async for line in answer.aiter_lines() if line.startswith("data: ")]
    return "".join(json.loads(line[6:]).get("text", "") for line in lines)


if __name__ == "__main__":
    main()
