"""What administrators chose about providers while the server runs."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import JSON, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from maloca.server.db.base import Base, now


class ProviderConfig(Base):
    """One row for the whole house; what is null or missing is as the settings say.

    Keys and URLs are never here: they stay in the settings, and no request can change them.

    Attributes:
        id: Always 1.
        version: Grows with every change, so that replicas notice it.
        chain: Names of providers in order.
        models: The model of each provider, by its name.
        egress: Whether conversations may leave the house at all.
        updated_by: The name of whoever changed it last.
    """

    __tablename__ = "provider_config"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(default=0)
    chain: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    models: Mapped[dict[str, Any]] = mapped_column(default=dict)
    egress: Mapped[bool | None]
    updated_at: Mapped[dt.datetime] = mapped_column(default=now)
    updated_by: Mapped[str] = mapped_column(String(200), default="")
