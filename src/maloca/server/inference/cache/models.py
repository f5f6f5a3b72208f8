"""The table of cached answers."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from maloca.server.accounts.ownership import owned_by
from maloca.server.db.base import Base


class CachedAnswer(Base):
    """One answer, under the digest of everything that decided it.

    Attributes:
        key: SHA-256 in hexadecimal.
        tenant: Whose it is, so that it can be removed with its owner.
        body: The answer as MessagePack; left out of exports, since it can be asked for again.
        size: Bytes that it counts for.
    """

    __tablename__ = "cached_answers"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(80), index=True, info=owned_by("user:{}"))
    body: Mapped[bytes] = mapped_column(LargeBinary, info={"secret": True})
    size: Mapped[int]
    used_at: Mapped[dt.datetime] = mapped_column(index=True)
    expires_at: Mapped[dt.datetime] = mapped_column(index=True)
