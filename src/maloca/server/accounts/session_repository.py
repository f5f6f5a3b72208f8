"""Queries for sessions, refresh tokens and the addresses that sessions began at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.models import KnownAddress, LoginSession, RefreshToken
from maloca.server.db.base import now


async def list_sessions(session: AsyncSession, user_id: str) -> Sequence[LoginSession]:
    """Return the sessions of an account that still last, the latest first."""
    query = (
        select(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.expires_at > now())
        .order_by(LoginSession.last_used_at.desc(), LoginSession.id)
    )
    return (await session.scalars(query)).all()


async def add_session(session: AsyncSession, login: LoginSession) -> LoginSession:
    """Add a session."""
    session.add(login)
    await session.flush()
    return login


async def extend_session(
    session: AsyncSession, session_id: str, expires_at: dt.datetime
) -> str | None:
    """Let a session last longer; return its account's id, or None if it has ended.

    Whoever extends a session holds its row until the transaction ends, so that the refreshes of
    one family come one after the other.
    """
    query = (
        update(LoginSession)
        .where(LoginSession.id == session_id, LoginSession.expires_at > now())
        .values(expires_at=expires_at, last_used_at=now())
        .returning(LoginSession.user_id)
    )
    return await session.scalar(query)


async def delete_session(session: AsyncSession, session_id: str, user_id: str) -> bool:
    """Revoke a session of an account; return whether there was one."""
    query = (
        delete(LoginSession)
        .where(LoginSession.id == session_id, LoginSession.user_id == user_id)
        .returning(LoginSession.id)
    )
    return await session.scalar(query) is not None


async def delete_sessions(session: AsyncSession, user_id: str, *, but: str | None = None) -> int:
    """Revoke the sessions of an account, one excepted; return how many."""
    query = (
        delete(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.id != (but or ""))
        .returning(LoginSession.id)
    )
    return len((await session.scalars(query)).all())


async def delete_expired(session: AsyncSession, user_id: str | None = None) -> None:
    """Remove the sessions and refresh tokens that have expired, of one account or of all."""
    of_user = [LoginSession.user_id == user_id] if user_id else []
    ended = LoginSession.expires_at <= now()
    await session.execute(delete(LoginSession).where(ended, *of_user))
    sessions = select(LoginSession.id).where(*of_user)
    ended = RefreshToken.expires_at <= now()
    await session.execute(
        delete(RefreshToken)
        .where(ended, RefreshToken.session_id.in_(sessions))
        .execution_options(synchronize_session=False)
    )


async def add_refresh_token(
    session: AsyncSession, token_hash: str, session_id: str, expires_at: dt.datetime
) -> None:
    """Add the next token of a family."""
    session.add(RefreshToken(token_hash=token_hash, session_id=session_id, expires_at=expires_at))
    await session.flush()


async def get_refresh_token(session: AsyncSession, token_hash: str) -> RefreshToken | None:
    """Return a refresh token, used or not."""
    return await session.get(RefreshToken, token_hash)


async def use_refresh_token(session: AsyncSession, token_hash: str) -> bool:
    """Use a refresh token up; of any number who try, one succeeds."""
    query = (
        update(RefreshToken)
        .where(RefreshToken.token_hash == token_hash, RefreshToken.used_at.is_(None))
        .values(used_at=now())
        .returning(RefreshToken.token_hash)
    )
    return await session.scalar(query) is not None


async def is_known_address(
    session: AsyncSession, user_id: str, address: str, *, since: dt.datetime
) -> bool:
    """Return whether an account has signed in from an address lately."""
    found = await session.get(KnownAddress, (user_id, address))
    return found is not None and found.last_login_at >= since


async def know_address(session: AsyncSession, user_id: str, address: str) -> None:
    """Remember that an account has signed in from an address."""
    values = {"user_id": user_id, "address": address, "last_login_at": now()}
    bind = session.get_bind()
    dialect = sqlite if bind.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(KnownAddress).values(**values)
    await session.execute(
        insert.on_conflict_do_update(
            index_elements=["user_id", "address"], set_={"last_login_at": values["last_login_at"]}
        )
    )
