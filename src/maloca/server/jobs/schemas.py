"""Jobs as they travel."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from maloca.dialects.fields import Strict, Text
from maloca.server.jobs.models import Job, State


class DemoPayload(Strict):
    """What the demo job does."""

    steps: int = Field(default=3, ge=0, le=100_000, description="How far it counts.")
    seconds: float = Field(default=0, ge=0, le=3600, description="How long each step takes.")
    fail_attempts: int = Field(
        default=0, ge=0, le=100, description="So many attempts fail half-way before one succeeds."
    )
    crash_attempts: int = Field(
        default=0, ge=0, le=100, description="So many attempts end their process half-way."
    )
    refuse: Annotated[Text, Field(max_length=500)] = Field(
        default="", description="Fail at once and for good, with this message."
    )


class JobCreate(Strict):
    """A job to queue by hand; the other kinds are queued by what they belong to."""

    kind: Literal["demo"]
    payload: DemoPayload = DemoPayload()
    priority: int = Field(default=0, ge=-100, le=100, description="The higher goes first.")


class JobError(BaseModel):
    """Why a job, or its last attempt, failed."""

    code: str
    message: str


class JobRead(BaseModel):
    """A job as it is now."""

    id: str
    kind: str
    owner_id: str | None
    state: State
    priority: int
    progress: float = Field(description="From 0 to 1.")
    message: str
    result: dict[str, Any] | None
    error: JobError | None
    attempts: int
    max_attempts: int
    cancel_requested: bool
    runner: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return a job's public side: neither its lease nor what it was given."""
        return cls.model_validate(job, from_attributes=True)


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobRead]
