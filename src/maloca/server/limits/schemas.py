"""Limits as the API speaks of them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from maloca.dialects.fields import Strict
from maloca.server.limits.rates import MAX_REQUESTS, MAX_WINDOW_SECONDS

Kind = Literal["role", "user", "key"]
LimitName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9._-]+$")]


class LimitUpdate(Strict):
    """What somebody may ask for; a field left out keeps the default."""

    requests: Annotated[int, Field(ge=1, le=MAX_REQUESTS)] | None = None
    window_seconds: Annotated[int, Field(ge=1, le=MAX_WINDOW_SECONDS)] | None = None
    tokens_per_day: Annotated[int, Field(ge=0, le=10**15)] | None = None

    @model_validator(mode="after")
    def _a_rate_is_whole(self) -> Self:
        if (self.requests is None) != (self.window_seconds is None):
            raise ValueError("requests and window_seconds go together")
        return self


class LimitRead(BaseModel):
    """What one role, user or key may ask for."""

    kind: Kind
    name: str
    requests: int | None
    window_seconds: int | None
    tokens_per_day: int | None
