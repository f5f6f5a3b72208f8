"""What a service says of itself from outside: its metrics, and waiting until they change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from prometheus_client.parser import text_string_to_metric_families


async def metric(url: str, name: str, **labels: str) -> float:
    """Return one sample of a service's metrics, 0 while there is none."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(url + "/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - what is waited for is elsewhere
            await asyncio.sleep(0.01)


async def until_metric(url: str, name: str, value: float, **labels: str) -> None:
    """Wait until a sample has a value."""

    async def check() -> bool:
        return await metric(url, name, **labels) == value

    await eventually(check)


async def until_idle(url: str, model: str = "fake") -> None:
    """Wait until a model holds no request and no KV block."""
    for name in ("maloca_requests_running", "maloca_requests_waiting", "maloca_kv_blocks_used"):
        await until_metric(url, name, 0, model=model)
