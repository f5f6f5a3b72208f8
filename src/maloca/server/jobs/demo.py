"""A job that counts, and fails, sleeps or dies when told to: it shows that jobs work."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from maloca.core.errors import InvalidRequest
from maloca.server.jobs.context import JobContext
from maloca.server.jobs.schemas import DemoPayload


async def work(context: JobContext) -> dict[str, Any]:
    """Count, with a checkpoint after each step.

    Returns:
        `counted`: how far it came; `resumed_at`: where this attempt began.
    """
    told = DemoPayload.model_validate(context.payload)
    if told.refuse:
        raise InvalidRequest(told.refuse)
    start = int((context.state or {}).get("step", 0))
    for step in range(start, told.steps):
        if step >= told.steps // 2:
            if context.attempt <= told.crash_attempts:
                os._exit(9)
            if context.attempt <= told.fail_attempts:
                raise RuntimeError(f"told to fail in attempt {context.attempt}")
        await asyncio.sleep(told.seconds)
        await context.checkpoint({"step": step + 1})
        print(f"step {step + 1} of {told.steps}")  # noqa: T201 - a job's output goes to its log
        await context.progress((step + 1) / told.steps, f"step {step + 1} of {told.steps}")
    return {"counted": told.steps, "resumed_at": start}
