"""The tables of accounts. No secret is stored: passwords as argon2id, the others as SHA-256.

A session, a refresh token or a key that has been revoked is a row that is gone, so every check is
one look-up. What happened to it stays in `audit_events`, which points to no other table.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from maloca.server.accounts.principal import Role
from maloca.server.db.base import Base, Id, now

MAX_USERNAME: Final = 64
HASH_LENGTH: Final = 64
_ROLE: Final = String(16)
# Columns marked so never leave the database, not even in their owner's export.
SECRET: Final = {"secret": True}


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[Id]
    username: Mapped[str] = mapped_column(String(MAX_USERNAME))
    # The name as it is compared: two accounts never differ in case or composition alone.
    username_key: Mapped[str] = mapped_column(String(4 * MAX_USERNAME), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200), info=SECRET)
    role: Mapped[Role] = mapped_column(_ROLE, index=True)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    last_login_at: Mapped[dt.datetime | None]
    disabled_at: Mapped[dt.datetime | None]


class LoginSession(Base):
    """One sign-in: of a program with tokens, or of a browser with a cookie."""

    __tablename__ = "sessions"

    id: Mapped[Id]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    # Of a browser's cookie; None for a family of refresh tokens.
    secret_hash: Mapped[str | None] = mapped_column(String(HASH_LENGTH), unique=True, info=SECRET)
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    last_used_at: Mapped[dt.datetime] = mapped_column(default=now)
    expires_at: Mapped[dt.datetime]
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(200))


class RefreshToken(Base):
    """A refresh token of a session; one that was used stays, so that a second use is noticed."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[str] = mapped_column(String(HASH_LENGTH), primary_key=True)
    session_id: Mapped[str] = mapped_column(
        ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None]


class ApiKey(Base):
    """A key for programs."""

    __tablename__ = "api_keys"

    id: Mapped[Id]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    # Its first characters, by which its owner recognises it.
    prefix: Mapped[str] = mapped_column(String(16))
    key_hash: Mapped[str] = mapped_column(String(HASH_LENGTH), unique=True, info=SECRET)
    # Scopes separated by spaces, as in OAuth 2.
    scopes: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    expires_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]


class Invitation(Base):
    """A one-time link to make an account; the one for an owner is the set-up link."""

    __tablename__ = "invitations"

    id: Mapped[Id]
    token_hash: Mapped[str] = mapped_column(String(HASH_LENGTH), unique=True, info=SECRET)
    role: Mapped[Role] = mapped_column(_ROLE)
    created_by: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[dt.datetime] = mapped_column(default=now)
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None]


class KnownAddress(Base):
    """An address from which an account has signed in; strangers' attempts do not count for it."""

    __tablename__ = "known_addresses"

    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    # An IPv4 address, or the network of an IPv6 address.
    address: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_login_at: Mapped[dt.datetime]


class AuditEvent(Base):
    """Something that matters to security; never a secret, and it outlives whom it speaks of."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    at: Mapped[dt.datetime] = mapped_column(default=now, index=True)
    action: Mapped[str] = mapped_column(String(40))
    actor: Mapped[str] = mapped_column(String(MAX_USERNAME))
    target: Mapped[str] = mapped_column(String(MAX_USERNAME))
    address: Mapped[str] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]]
