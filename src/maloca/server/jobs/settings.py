"""Settings of jobs; the server's settings include them."""

from __future__ import annotations

from pydantic import Field

from maloca.core.settings import Settings


class JobSettings(Settings):
    """How the job process works."""

    job_slots: int = Field(
        default=2, ge=1, le=64, description="How many jobs one job process runs at once."
    )
    job_lease: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="Seconds of silence after which a job goes to another job process.",
    )
    job_retry: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="Seconds until a job that failed is tried again; doubles each time.",
    )
    job_days: float = Field(
        default=90, gt=0, description="How long jobs that are over are kept, with their output."
    )
