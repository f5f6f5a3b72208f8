"""Queries for accounts and for what they are recognised by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.errors import Conflict
from maloca.server.accounts.models import ApiKey, LoginSession, User
from maloca.server.accounts.ownership import marked_rows_of
from maloca.server.accounts.principal import Principal, Role
from maloca.server.db.base import now


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a session or a key is, as one look-up finds it."""

    credential_id: str
    user_id: str
    username: str
    role: Role
    disabled: bool
    expires_at: dt.datetime | None
    scopes: str = ""


_HOLDER: Final = (User.id, User.username, User.role, User.disabled_at)
_SESSION: Final = select(LoginSession.id, LoginSession.expires_at, *_HOLDER).join(
    User, User.id == LoginSession.user_id
)
_KEY: Final = select(ApiKey.id, ApiKey.expires_at, *_HOLDER, ApiKey.scopes).join(
    User, User.id == ApiKey.user_id
)
_OWNER_EXISTS: Final = select(exists().where(User.role == "owner"))


async def owner_exists(session: AsyncSession) -> bool:
    """Return whether anybody owns this house."""
    return bool(await session.scalar(_OWNER_EXISTS))


async def get_session_holder(session: AsyncSession, session_id: str) -> Holder | None:
    """Return whose session that is; a revoked one is nobody's."""
    return await _holder(session, _SESSION.where(LoginSession.id == session_id))


async def get_browser_holder(session: AsyncSession, secret_hash: str) -> Holder | None:
    """Return whose browser has the cookie of that hash."""
    return await _holder(session, _SESSION.where(LoginSession.secret_hash == secret_hash))


async def get_key_holder(session: AsyncSession, key_hash: str) -> Holder | None:
    """Return whose key has that hash."""
    return await _holder(session, _KEY.where(ApiKey.key_hash == key_hash))


async def note_use(
    session: AsyncSession, principal: Principal, *, session_expires_at: dt.datetime
) -> None:
    """Write down when a session or key was last used; a session that is used lasts longer."""
    if principal.key_id is not None:
        key = update(ApiKey).where(ApiKey.id == principal.key_id)
        await session.execute(key.values(last_used_at=now()))
    else:
        used = update(LoginSession).where(LoginSession.id == principal.session_id)
        await session.execute(used.values(last_used_at=now(), expires_at=session_expires_at))


async def get_user(session: AsyncSession, user_id: str) -> User | None:
    """Return an account by its id."""
    return await session.get(User, user_id)


async def get_user_by_key(session: AsyncSession, username_key: str) -> User | None:
    """Return an account by its name as it is compared."""
    return (
        await session.scalars(select(User).where(User.username_key == username_key))
    ).one_or_none()


async def list_users(session: AsyncSession, *, limit: int, offset: int) -> Sequence[User]:
    """Return accounts in the order of their names."""
    query = select(User).order_by(User.username_key).limit(limit).offset(offset)
    return (await session.scalars(query)).all()


async def count_users(session: AsyncSession) -> int:
    """Return how many accounts there are."""
    return await session.scalar(select(func.count()).select_from(User)) or 0


async def add_user(session: AsyncSession, user: User) -> User:
    """Add an account.

    Raises:
        Conflict: The name is taken.
    """
    session.add(user)
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict(
            f"The name {user.username!r} is taken.",
            code="username_taken",
            param="username",
            hint="Choose another one.",
        ) from None
    return user


async def lock_enabled_owners(session: AsyncSession) -> Sequence[str]:
    """Return the ids of those who can administer everything, and keep them so until the end.

    Two owners who remove each other at the same moment wait for each other here.
    """
    query = (
        select(User.id)
        .where(User.role == "owner", User.disabled_at.is_(None))
        .order_by(User.id)
        .with_for_update()
    )
    return (await session.scalars(query)).all()


async def set_password(session: AsyncSession, user_id: str, password_hash: str) -> None:
    """Replace a password, whatever it was."""
    query = update(User).where(User.id == user_id).values(password_hash=password_hash)
    await session.execute(query)


async def note_login(session: AsyncSession, user: User) -> bool:
    """Write a login down, if the account is still as it was when the password was checked."""
    return await _set_unchanged(session, user, last_login_at=now())


async def replace_hash(session: AsyncSession, user: User, password_hash: str) -> bool:
    """Replace a password, if the account is still as it was when the old one was checked."""
    return await _set_unchanged(session, user, password_hash=password_hash)


async def delete_user(session: AsyncSession, user_id: str) -> None:
    """Remove an account and all that is its own: by the foreign keys, and by the marks."""
    for table, theirs in marked_rows_of(user_id):
        await session.execute(delete(table).where(theirs))
    await session.execute(delete(User).where(User.id == user_id))


async def _set_unchanged(session: AsyncSession, user: User, **values: Any) -> bool:
    query = (
        update(User)
        .where(
            User.id == user.id,
            User.password_hash == user.password_hash,
            User.disabled_at.is_(None),
        )
        .values(**values)
        .returning(User.id)
        .execution_options(synchronize_session=False)
    )
    return await session.scalar(query) is not None


async def _holder(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> Holder | None:
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    found, expires_at, user_id, username, role, disabled_at, *scopes = row
    return Holder(found, user_id, username, role, disabled_at is not None, expires_at, *scopes)
