"""Tables of jobs and of what happened to them."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final, Literal

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from maloca.server.db.base import Base, Id, now

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
TERMINAL: Final[frozenset[State]] = frozenset({"succeeded", "failed", "cancelled"})

MESSAGE_LENGTH: Final = 500


class Job(Base):
    """One piece of long work.

    Attributes:
        kind: Names the function that does it, see `kinds.py`.
        owner_id: Whose it is; None for the house's own.
        priority: The higher goes first; among equals, the older.
        payload: What the function is given.
        checkpoint: What the function saved to go on from after an interruption.
        result: What the function returned.
        progress: From 0 to 1.
        error: `{"code", "message"}` of a failed job, or of its last failed attempt.
        attempts: How often it was begun and neither ended nor given back in order.
        cancel_requested: Somebody wants it to stop.
        lease: A secret of the runner that works on it. Whoever does not know it changes nothing.
        lease_until: When the lease ends unless the runner renews it.
        runner: The runner's name, for people.
        run_after: When a queued job may begin.
        last_event: The sequence number of its newest event.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"
        ),
        CheckConstraint("(state = 'running') = (lease is not null)", name="lease"),
        Index("ix_jobs_queue", "state", "kind", "priority", "created_at"),
        Index("ix_jobs_owner", "owner_id", "created_at"),
    )

    id: Mapped[Id]
    kind: Mapped[str] = mapped_column(String(64))
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    state: Mapped[State] = mapped_column(String(16), default="queued")
    priority: Mapped[int] = mapped_column(default=0)
    payload: Mapped[dict[str, Any]]
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    attempts: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lease: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[dt.datetime | None]
    runner: Mapped[str | None] = mapped_column(String(128))
    run_after: Mapped[dt.datetime] = mapped_column(default=now)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    last_event: Mapped[int] = mapped_column(default=0)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in TERMINAL


class JobEvent(Base):
    """One thing that happened to a job; the last of a job that is over is its terminal one.

    Attributes:
        sequence: 1, 2, 3 … within its job.
        type: queued, started, progress, interrupted, cancelling, or a terminal state.
        data: What there is to say about it.
    """

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
