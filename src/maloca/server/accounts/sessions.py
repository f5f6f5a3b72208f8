"""Signing in and out: from a password to a session, and from one token to the next."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import NotFound
from maloca.server.accounts import audit, repository, session_repository, tokens, usernames
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.address import bucket
from maloca.server.accounts.errors import (
    AccountDisabled,
    InvalidCredentials,
    TooManyAttempts,
    Unauthenticated,
)
from maloca.server.accounts.models import LoginSession, User
from maloca.server.accounts.principal import Principal
from maloca.server.accounts.throttle import Attempt
from maloca.server.db.base import now

KNOWN_DAYS: Final = 90
_MAX_AGENT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What is known of a client before it signs in.

    Attributes:
        address: Its IP address.
        user_agent: What it says it is.
        device: The device cookie that it carries, unread.
    """

    address: str
    user_agent: str = ""
    device: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a program gets when it signs in."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """What a browser gets when it signs in; both are cookies."""

    user: User
    session: LoginSession
    secret: str = field(repr=False)
    device: str = field(repr=False)


async def log_in(accounts: Accounts, username: str, password: str, client: Client) -> Tokens:
    """Return the tokens of a new session.

    Raises:
        InvalidCredentials: The name or the password is wrong.
        AccountDisabled: The password is right, and the account is disabled.
        TooManyAttempts: Passwords are being guessed.
    """
    user = await check_password(accounts, username, password, client)
    async with accounts.database.write() as session:
        login = await _start(accounts, session, user, client)
        return await _issue(accounts, session, user.id, login.id)


async def log_in_browser(
    accounts: Accounts, username: str, password: str, client: Client
) -> BrowserLogin:
    """Return a new session whose secret a browser keeps in a cookie.

    Raises:
        InvalidCredentials: The name or the password is wrong.
        AccountDisabled: The password is right, and the account is disabled.
        TooManyAttempts: Passwords are being guessed.
    """
    user = await check_password(accounts, username, password, client)
    secret = tokens.new_secret(tokens.BROWSER)
    async with accounts.database.write() as session:
        login = await _start(accounts, session, user, client, tokens.digest(secret))
    return BrowserLogin(user, login, secret, accounts.signer.issue_device(user.id))


async def check_password(accounts: Accounts, username: str, password: str, client: Client) -> User:
    """Return the account whose name and password these are, as it was when they were checked.

    Raises:
        InvalidCredentials: The name or the password is wrong.
        AccountDisabled: The password is right, and the account is disabled.
        TooManyAttempts: Passwords are being guessed.
    """
    key = usernames.key(username)
    async with accounts.database.read() as session:
        user = await repository.get_user_by_key(session, key)
        since = now() - dt.timedelta(days=KNOWN_DAYS)
        known = user is not None and await session_repository.is_known_address(
            session, user.id, bucket(client.address), since=since
        )
    device = accounts.signer.read_device(client.device, user.id) if user else None
    attempt = Attempt(account=key, address=client.address, device=device, known=known)
    target = user.username if user else audit.NO_ACCOUNT
    try:
        await accounts.throttle.admit(attempt)
    except TooManyAttempts:
        if await accounts.throttle.is_news(attempt):
            await _record_failure(accounts, "login.throttled", target, client)
        raise
    right = await accounts.passwords.verify(password, user.password_hash if user else None)
    if user is None or not right:
        await _record_failure(accounts, "login.failed", target, client)
        raise InvalidCredentials(
            "The name or the password is wrong.",
            hint="An administrator can reset a password: maloca admin reset-password NAME.",
        )
    await accounts.throttle.succeeded(attempt)
    if user.disabled_at is not None:
        await _record_failure(accounts, "login.failed", target, client)
        raise AccountDisabled(
            f"The account {user.username!r} is disabled.", hint="Ask an administrator."
        )
    if accounts.passwords.is_weaker(user.password_hash):
        await _strengthen(accounts, user, password)
    return user


async def refresh(accounts: Accounts, token: str, client: Client) -> Tokens:
    """Return new tokens for a refresh token, which is used up by that.

    A token that comes a second time was stolen, or its answer was lost. Which, nobody can know, so
    the session ends, for thief and owner alike. There is no grace for two refreshes at once.

    Raises:
        Unauthenticated: The token is unknown, expired, revoked or already used.
    """
    token_hash = tokens.digest(token)
    issued = None
    async with accounts.database.write() as session:
        found = await session_repository.get_refresh_token(session, token_hash)
        if found is not None and found.expires_at > now():
            expires_at = accounts.session_end()
            user_id = await session_repository.extend_session(session, found.session_id, expires_at)
            user = await repository.get_user(session, user_id) if user_id else None
            if user is None or user.disabled_at is not None:
                pass
            elif await session_repository.use_refresh_token(session, token_hash):
                issued = await _issue(accounts, session, user.id, found.session_id)
            else:
                await session_repository.delete_session(session, found.session_id, user.id)
                await audit.record(
                    session, "refresh.reused", actor=user.username, address=client.address
                )
    if issued is None:
        raise Unauthenticated(
            "The refresh token is not valid any more.", code="invalid_token", hint="Sign in again."
        )
    return issued


async def log_out(session: AsyncSession, principal: Principal) -> None:
    """End the session that is in use."""
    if principal.session_id and principal.user_id:
        await _revoke(session, principal, principal.session_id)


async def revoke(session: AsyncSession, principal: Principal, session_id: str) -> None:
    """End one of one's own sessions.

    Raises:
        NotFound: There is none of that id, or it is another's.
    """
    if not await _revoke(session, principal, session_id):
        raise NotFound(f"You have no session {session_id[:40]!r}.")


async def revoke_others(session: AsyncSession, principal: Principal) -> int:
    """End all of one's own sessions but the one in use; return how many."""
    count = await session_repository.delete_sessions(
        session, principal.user_id or "", but=principal.session_id
    )
    if count:
        await audit.record(
            session,
            "session.revoked",
            actor=principal.username,
            address=principal.address,
            count=count,
        )
    return count


async def _revoke(session: AsyncSession, principal: Principal, session_id: str) -> bool:
    if not await session_repository.delete_session(session, session_id, principal.user_id or ""):
        return False
    await audit.record(
        session, "session.revoked", actor=principal.username, address=principal.address, count=1
    )
    return True


async def _start(
    accounts: Accounts,
    session: AsyncSession,
    user: User,
    client: Client,
    secret_hash: str | None = None,
) -> LoginSession:
    # Between the check of the password and this, an administrator may have disabled the account.
    if not await repository.note_login(session, user):
        raise InvalidCredentials("The account has changed meanwhile.", hint="Sign in again.")
    await session_repository.delete_expired(session, user.id)
    await session_repository.know_address(session, user.id, bucket(client.address))
    await audit.record(session, "login.succeeded", actor=user.username, address=client.address)
    return await session_repository.add_session(
        session,
        LoginSession(
            user_id=user.id,
            secret_hash=secret_hash,
            expires_at=accounts.session_end(),
            address=client.address,
            user_agent=client.user_agent[:_MAX_AGENT],
        ),
    )


async def _issue(
    accounts: Accounts, session: AsyncSession, user_id: str, session_id: str
) -> Tokens:
    secret = tokens.new_secret(tokens.REFRESH)
    await session_repository.add_refresh_token(
        session, tokens.digest(secret), session_id, accounts.session_end()
    )
    return Tokens(accounts.signer.issue(user_id, session_id), secret)


async def _strengthen(accounts: Accounts, user: User, password: str) -> None:
    """Store a password at the present cost, unless it was changed meanwhile."""
    stronger = await accounts.passwords.hash(password)
    async with accounts.database.write() as session:
        if await repository.replace_hash(session, user, stronger):
            user.password_hash = stronger


async def _record_failure(
    accounts: Accounts, action: audit.Action, target: str, client: Client
) -> None:
    async with accounts.database.write() as session:
        await audit.record(session, action, actor="", target=target, address=client.address)
