"""What owners and administrators do with the accounts of others.

An administrator manages users; owners and administrators are an owner's to manage. So nobody can
make themselves more than they are, not even by resetting a password.
"""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import Forbidden, NotFound
from maloca.server.accounts import (
    audit,
    passwords,
    repository,
    service,
    session_repository,
    usernames,
)
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.authentication import scopes_of
from maloca.server.accounts.models import User
from maloca.server.accounts.principal import Principal, Role
from maloca.server.db.base import now

# Who runs commands on the server's machine can read its database, so there is no more to hide.
COMMAND_LINE: Final = Principal(
    user_id=None,
    username=audit.COMMAND_LINE,
    role="owner",
    scopes=scopes_of("owner"),
    address="",
)
_GENERATED_BYTES: Final = 12


async def get_user_or_raise(session: AsyncSession, user_id: str) -> User:
    """Return an account by its id.

    Raises:
        NotFound: There is none.
    """
    user = await repository.get_user(session, user_id)
    if user is None:
        raise NotFound(f"There is no account {user_id[:40]!r}.")
    return user


async def get_named_or_raise(session: AsyncSession, username: str) -> User:
    """Return an account by its name.

    Raises:
        NotFound: There is none.
    """
    user = await repository.get_user_by_key(session, usernames.key(username))
    if user is None:
        raise NotFound(
            f"There is no account {username[:64]!r}.",
            hint="`maloca admin users list` shows those there are.",
        )
    return user


async def add_user(
    accounts: Accounts, actor: Principal, username: str, password: str, *, role: Role
) -> User:
    """Make an account for somebody.

    Raises:
        Forbidden: Only an owner makes owners and administrators.
        InvalidRequest: The name or the password cannot be used.
        Conflict: The name is taken.
    """
    _check_may_manage(actor, role)
    user = await service.new_user(accounts, username, password, role=role)
    async with accounts.database.write() as session:
        await repository.add_user(session, user)
        await _record(session, "account.created", actor, user, role=role)
    return user


async def set_disabled(
    session: AsyncSession, actor: Principal, user: User, *, disabled: bool
) -> None:
    """Disable an account, whose sessions end and whose keys stop working; or enable it again.

    Raises:
        Forbidden: The account is not this actor's to manage.
        Conflict: It is the last owner's.
    """
    _check_may_manage(actor, user.role)
    if (user.disabled_at is not None) == disabled:
        return
    if disabled:
        await service.keep_an_owner(session, user.id)
    user.disabled_at = now() if disabled else None
    await session.flush()
    if disabled:
        await session_repository.delete_sessions(session, user.id)
    action: audit.Action = "account.disabled" if disabled else "account.enabled"
    await _record(session, action, actor, user)


async def set_role(session: AsyncSession, actor: Principal, user: User, role: Role) -> None:
    """Change what an account may do.

    Raises:
        Forbidden: The account, or the role, is not this actor's to manage.
        Conflict: It is the last owner's.
    """
    _check_may_manage(actor, user.role)
    _check_may_manage(actor, role)
    if user.role == role:
        return
    if user.role == "owner":
        await service.keep_an_owner(session, user.id)
    before, user.role = user.role, role
    await session.flush()
    await _record(session, "account.role_changed", actor, user, before=before, after=role)


async def delete_user(session: AsyncSession, actor: Principal, user: User) -> None:
    """Remove an account with everything in it.

    Raises:
        Forbidden: The account is not this actor's to manage.
        Conflict: It is the last owner's.
    """
    _check_may_manage(actor, user.role)
    await service.keep_an_owner(session, user.id)
    await repository.delete_user(session, user.id)
    await _record(session, "account.deleted", actor, user)


async def reset_password(
    accounts: Accounts, actor: Principal, user: User, password: str | None = None
) -> str:
    """Give an account a new password, generated unless given, and end its sessions.

    Returns:
        The password, to be handed over once.

    Raises:
        Forbidden: The account is not this actor's to manage.
        InvalidRequest: The given password cannot be used.
    """
    _check_may_manage(actor, user.role)
    chosen = password or secrets.token_urlsafe(_GENERATED_BYTES)
    passwords.check_new(chosen, username=user.username)
    hashed = await accounts.passwords.hash(chosen)
    async with accounts.database.write() as session:
        await repository.set_password(session, user.id, hashed)
        await session_repository.delete_sessions(session, user.id)
        await _record(session, "password.reset", actor, user)
    return chosen


def _check_may_manage(actor: Principal, role: Role) -> None:
    if actor.role != "owner" and role != "user":
        raise Forbidden("Only an owner manages owners and administrators.", code="owners_only")


async def _record(
    session: AsyncSession, action: audit.Action, actor: Principal, user: User, **detail: str
) -> None:
    await audit.record(
        session,
        action,
        actor=actor.username,
        target=user.username,
        address=actor.address,
        **detail,
    )
