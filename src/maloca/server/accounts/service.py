"""Accounts from their beginning to their end: register, set up, change the password, leave."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import Forbidden, InvalidRequest
from maloca.server.accounts import (
    audit,
    export,
    invitation_repository,
    passwords,
    repository,
    session_repository,
    sessions,
    usernames,
)
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.errors import Conflict, Unauthenticated
from maloca.server.accounts.export import Export
from maloca.server.accounts.models import Invitation, User
from maloca.server.accounts.principal import Principal, Role
from maloca.server.accounts.sessions import Client
from maloca.server.accounts.tokens import digest


async def register(
    accounts: Accounts, username: str, password: str, invitation: str | None, client: Client
) -> User:
    """Make an account for whoever asks, if this house lets them in.

    Raises:
        Forbidden: Registration is closed, or needs an invitation that was not given.
        InvalidRequest: The name, the password or the invitation cannot be used.
        Conflict: The name is taken.
        TooManyAttempts: Too many accounts come from that address.
    """
    allowed = accounts.settings.who_may_register
    if allowed == "closed":
        raise Forbidden(
            "Nobody can register here.",
            code="registration_closed",
            hint="An administrator can make an account: maloca admin users add NAME.",
        )
    if allowed == "invite" and invitation is None:
        raise Forbidden(
            "An invitation is needed to register here.",
            code="invitation_needed",
            hint="Ask an administrator for one: maloca admin invite.",
        )
    await accounts.throttle.admit_registration(client.address)
    user = await new_user(accounts, username, password, role="user")
    async with accounts.database.write() as session:
        if invitation is not None:
            used = await _use(session, invitation, for_owner=False)
            user.role = used.role
        await repository.add_user(session, user)
        await audit.record(
            session,
            "account.created",
            actor=user.username,
            address=client.address,
            role=user.role,
            invited=invitation is not None,
        )
    return user


async def set_up(
    accounts: Accounts, token: str, username: str, password: str, client: Client
) -> User:
    """Make the owner's account for whoever has the link that the terminal showed.

    Raises:
        Conflict: The house has an owner, or the name is taken.
        InvalidRequest: The name, the password or the link cannot be used.
        TooManyAttempts: Too many tries come from that address.
    """
    await accounts.throttle.admit_registration(client.address)
    user = await new_user(accounts, username, password, role="owner")
    async with accounts.database.write() as session:
        await _use(session, token, for_owner=True)
        if await repository.owner_exists(session):
            raise Conflict("This house has an owner already.", code="owner_exists")
        await repository.add_user(session, user)
        await invitation_repository.delete_setup_links(session)
        await audit.record(
            session,
            "account.created",
            actor=user.username,
            address=client.address,
            role="owner",
            invited=True,
        )
    return user


async def new_user(accounts: Accounts, username: str, password: str, *, role: Role) -> User:
    """Return an account that is not stored yet; its password is checked and hashed.

    Raises:
        InvalidRequest: The name or the password cannot be used.
    """
    name = usernames.accept(username)
    passwords.check_new(password, username=name)
    hashed = await accounts.passwords.hash(password)
    return User(username=name, username_key=usernames.key(name), password_hash=hashed, role=role)


async def get_self(session: AsyncSession, principal: Principal) -> User:
    """Return the account of whoever asks.

    Raises:
        Unauthenticated: It was removed meanwhile.
    """
    user = await repository.get_user(session, principal.user_id or "")
    if user is None:
        raise _gone()
    return user


async def change_password(
    accounts: Accounts, principal: Principal, current: str, new: str, client: Client
) -> None:
    """Change one's own password, and end one's other sessions; API keys stay.

    Raises:
        InvalidCredentials: The current password is wrong.
        InvalidRequest: The new one cannot be used.
        TooManyAttempts: Passwords are being guessed.
    """
    user = await sessions.check_password(accounts, principal.username, current, client)
    passwords.check_new(new, username=user.username)
    hashed = await accounts.passwords.hash(new)
    async with accounts.database.write() as session:
        if not await repository.replace_hash(session, user, hashed):
            raise _gone()
        await session_repository.delete_sessions(session, user.id, but=principal.session_id)
        await audit.record(
            session, "password.changed", actor=user.username, address=principal.address
        )


async def delete_self(
    accounts: Accounts, principal: Principal, password: str, client: Client
) -> None:
    """Remove one's own account with everything in it.

    Raises:
        InvalidCredentials: The password is wrong.
        Conflict: It is the last owner's.
        TooManyAttempts: Passwords are being guessed.
    """
    user = await sessions.check_password(accounts, principal.username, password, client)
    async with accounts.database.write() as session:
        await keep_an_owner(session, user.id)
        await repository.delete_user(session, user.id)
        await audit.record(
            session, "account.deleted", actor=user.username, address=principal.address
        )


async def export_self(session: AsyncSession, principal: Principal) -> Export:
    """Return all that is stored of one's own, without secrets."""
    user = await get_self(session, principal)
    await audit.record(session, "account.exported", actor=user.username, address=principal.address)
    return await export.of_user(session, user.id)


async def keep_an_owner(session: AsyncSession, user_id: str) -> None:
    """Check that an owner is left when that account is no longer one.

    Raises:
        Conflict: The house would be without an owner, and so open to everybody on this machine.
    """
    if list(await repository.lock_enabled_owners(session)) == [user_id]:
        raise Conflict(
            "The last owner must stay.",
            code="last_owner",
            hint="Make another owner first: maloca admin users add NAME --role owner.",
        )


async def _use(session: AsyncSession, token: str, *, for_owner: bool) -> Invitation:
    found = await invitation_repository.use_invitation(session, digest(token), for_owner=for_owner)
    if found is None:
        what = "set-up link" if for_owner else "invitation"
        raise InvalidRequest(
            f"The {what} is not valid: it is unknown, expired or used.",
            code="invalid_invitation",
            param="token" if for_owner else "invitation",
            hint="`maloca up` shows a new link while there is no owner."
            if for_owner
            else "Ask an administrator for a new one.",
        )
    return found


def _gone() -> Unauthenticated:
    return Unauthenticated("The account has changed meanwhile.", hint="Sign in again.")
