"""The table of usage."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from maloca.server.accounts.ownership import owned_by
from maloca.server.db.base import Base, Id


class UsageEvent(Base):
    """One inference request: who, what and how long, without its text.

    Nothing here points at other tables: a batch never fails because an account or key was removed
    meanwhile.

    Attributes:
        day: The day of `at` in UTC.
        route: Such as `/predict`.
        provider: Who answered; empty if nobody did.
        model: The model's own name; empty if nobody answered.
        ttft_ms: Milliseconds to the first piece of text; NULL if there was none.
        status: "ok", "failed", "cancelled" or "rate_limited".
        error: The error's code; empty if there was none.
    """

    __tablename__ = "usage_events"
    __table_args__ = (Index("ix_usage_events_user_id_day", "user_id", "day"),)

    id: Mapped[Id]
    at: Mapped[dt.datetime]
    day: Mapped[dt.date] = mapped_column(Date, index=True)
    request_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str | None] = mapped_column(String(32), info=owned_by())
    key_id: Mapped[str | None] = mapped_column(String(32))
    route: Mapped[str] = mapped_column(String(64))
    provider: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    ttft_ms: Mapped[float | None]
    duration_ms: Mapped[float]
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(String(64))
    cached: Mapped[bool]
