"""Usage as the API speaks of it."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict


class UsageRead(BaseModel):
    """What was used of one model in one day of UTC.

    `requests` counts all of them; those not failed, cancelled or refused were answered.
    """

    model_config = ConfigDict(from_attributes=True)

    day: dt.date
    model: str
    provider: str
    requests: int
    cached: int
    failed: int
    cancelled: int
    rate_limited: int
    prompt_tokens: int
    completion_tokens: int
    mean_ttft_ms: float | None
    mean_duration_ms: float


class UserUsageRead(UsageRead):
    """What one user used; None stands for callers without an account."""

    user_id: str | None
