"""Every query of accounts."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.models import ApiKey, LoginSession, User
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


async def _holder(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> Holder | None:
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    found, expires_at, user_id, username, role, disabled_at, *scopes = row
    return Holder(found, user_id, username, role, disabled_at is not None, expires_at, *scopes)


async def note_use(session: AsyncSession, principal: Principal) -> None:
    """Write down when a session or key was last used."""
    if principal.key_id is not None:
        query = update(ApiKey).where(ApiKey.id == principal.key_id)
    else:
        query = update(LoginSession).where(LoginSession.id == principal.session_id)
    await session.execute(query.values(last_used_at=now()))
