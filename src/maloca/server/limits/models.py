"""Tables of limits: exceptions to the defaults, and tokens spent in a day."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, Date, String
from sqlalchemy.orm import Mapped, mapped_column

from maloca.server.accounts.ownership import owned_by
from maloca.server.db.base import Base


class LimitOverride(Base):
    """What one role, user or key may ask for; NULL leaves the default in force."""

    __tablename__ = "limit_overrides"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    requests: Mapped[int | None]
    window_seconds: Mapped[int | None]
    tokens_per_day: Mapped[int | None] = mapped_column(BigInteger)


class TokenSpend(Base):
    """Tokens of one caller in one day of UTC: used, or reserved by requests still running."""

    __tablename__ = "token_spend"

    tenant: Mapped[str] = mapped_column(String(80), primary_key=True, info=owned_by("user:{}"))
    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    tokens: Mapped[int] = mapped_column(BigInteger, default=0)
