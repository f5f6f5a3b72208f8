"""Counting together in Redis, and alone when it is gone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from fakeredis import TcpFakeServer
from limits.aio.storage.redis.redispy import RedispyBridge
from prometheus_client import CollectorRegistry, Counter
from redis import Redis

from maloca.core.settings import BadSetting
from maloca.server.limits.limiter import RETRY_SECONDS, RequestLimiter
from maloca.server.limits.rates import Rate, Standing

RATE = Rate(5, 60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A server that speaks Redis."""
    port = free_port()
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with Redis(port=port) as client:
        # This stand-in closes a connection at an error, and "no such script" is one.
        client.script_load(RedispyBridge.SCRIPT_MOVING_WINDOW)
        client.script_load(RedispyBridge.SCRIPT_ACQUIRE_MOVING_WINDOW)
    yield f"redis://127.0.0.1:{port}/0"
    server.shutdown()
    server.server_close()
    thread.join(10)


def failures() -> Counter:
    return Counter("failures", "Failures.", registry=CollectorRegistry())


def count_of(counter: Counter) -> float:
    [family] = counter.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_total"))


async def test_two_processes_count_together(redis_url: str) -> None:
    one, other = RequestLimiter(redis_url=redis_url), RequestLimiter(redis_url=redis_url)
    standings = [await limiter.hit(RATE, "ana") for limiter in (one, other) * 4]
    assert [standing.allowed for standing in standings] == [True] * 5 + [False] * 3
    assert [standing.remaining for standing in standings] == [4, 3, 2, 1, 0, 0, 0, 0]
    assert all(0 < standing.reset_seconds <= 60 for standing in standings)
    assert (await one.hit(RATE, "luis")).allowed
    await one.aclose()
    await other.aclose()


async def test_without_redis_each_process_counts_and_says_so() -> None:
    counter = failures()
    now = 100.0
    limiter = RequestLimiter(
        redis_url=f"redis://127.0.0.1:{free_port()}/0", failures=counter, clock=lambda: now
    )
    allowed = [(await limiter.hit(RATE, "ana")).allowed for _ in range(7)]
    assert allowed == [True] * 5 + [False] * 2
    # It was asked once: the others did not wait for it.
    assert count_of(counter) == 1
    now += RETRY_SECONDS
    await limiter.hit(RATE, "ana")
    assert count_of(counter) == 2
    await limiter.aclose()


async def test_a_redis_that_says_nothing_costs_a_moment() -> None:
    """A black hole accepts the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as hole:
        counter = failures()
        limiter = RequestLimiter(
            redis_url=f"redis://127.0.0.1:{hole.getsockname()[1]}/0", failures=counter
        )
        async with asyncio.timeout(10):
            assert (await limiter.hit(RATE, "ana")).allowed
        assert count_of(counter) == 1
        await limiter.aclose()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:port/0", "http://127.0.0.1:1"])
def test_a_url_that_cannot_be_used_stops_the_start(url: str) -> None:
    with pytest.raises(BadSetting, match="MALOCA_REDIS_URL"):
        RequestLimiter(redis_url=url)


def test_the_headers_follow_the_draft() -> None:
    standing = Standing(RATE, allowed=False, remaining=0, reset_seconds=12.3)
    assert standing.headers == {
        "RateLimit-Policy": '"requests";q=5;w=60',
        "RateLimit": '"requests";r=0;t=13',
    }
    refusal = standing.refusal().info
    assert (refusal.status, refusal.code, refusal.retry_after) == (429, "rate_limited", 12.3)
