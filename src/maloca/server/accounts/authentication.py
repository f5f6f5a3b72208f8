"""From a request to who makes it: the one path of every credential.

The database is asked each time, by key, so that what is revoked anywhere is refused everywhere at
once.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from maloca.server.accounts import cookies, credentials, repository
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.address import client_address, is_this_machine
from maloca.server.accounts.credentials import Credential
from maloca.server.accounts.errors import AccountDisabled, Unauthenticated
from maloca.server.accounts.principal import Principal, Role, Scope
from maloca.server.accounts.repository import Holder
from maloca.server.accounts.tokens import digest
from maloca.server.db.base import now

_OF_USER: Final[frozenset[Scope]] = frozenset({"inference", "knowledge"})
_OF_ADMIN: Final[frozenset[Scope]] = _OF_USER | {"admin"}
_OF_ANYBODY: Final[frozenset[Scope]] = frozenset({"inference"})
_HINT: Final = "Sign in at /auth/login, or send an API key: Authorization: Bearer mlk_…"


async def authenticate(connection: HTTPConnection, session: AsyncSession) -> Principal:
    """Return who makes a request or opens a WebSocket.

    Until the house has an owner, a caller on this machine without a credential, or with one that
    was made for another service, is anonymous.

    Raises:
        Unauthenticated: There is no credential, or it is wrong, expired or revoked.
        AccountDisabled: The account was disabled.
        CrossSiteRequest: A cookie came with what may be another site's request.
    """
    accounts: Accounts = connection.state.accounts
    settings = accounts.settings
    address = client_address(connection, settings.trusted_proxies)
    secure = cookies.is_secure(connection, chosen=settings.secure_cookies)
    credential = credentials.find(connection, secure=secure)
    if credential is None or credential.kind == "foreign":
        if is_this_machine(connection) and not await repository.owner_exists(session):
            return anonymous(address)
        if credential is None:
            raise Unauthenticated("This needs an account or an API key.", hint=_HINT)
        raise _refused("credential")
    holder = await _holder(accounts, session, credential)
    if holder.disabled:
        raise AccountDisabled(
            f"The account {holder.username!r} is disabled.", hint="Ask an administrator."
        )
    is_key = credential.kind == "api_key"
    allowed = scopes_of(holder.role)
    return Principal(
        user_id=holder.user_id,
        username=holder.username,
        role=holder.role,
        scopes=allowed & set(holder.scopes.split()) if is_key else allowed,
        address=address,
        key_id=holder.credential_id if is_key else None,
        session_id=None if is_key else holder.credential_id,
    )


def anonymous(address: str) -> Principal:
    """Return a caller who has not said who they are."""
    return Principal(
        user_id=None, username="", role="anonymous", scopes=_OF_ANYBODY, address=address
    )


def scopes_of(role: Role) -> frozenset[Scope]:
    """Return all that a role may do."""
    return _OF_ADMIN if role in {"owner", "admin"} else _OF_USER


async def _holder(accounts: Accounts, session: AsyncSession, credential: Credential) -> Holder:
    """Return whose a credential is, if it is still good."""
    match credential.kind:
        case "access_token":
            claims = accounts.signer.read(credential.secret)
            holder = await repository.get_session_holder(session, claims.session_id)
            if holder is not None and holder.user_id != claims.user_id:
                holder = None
            what = "access token"
        case "cookie":
            holder = await repository.get_browser_holder(session, digest(credential.secret))
            what = "session"
        case _:
            holder = await repository.get_key_holder(session, digest(credential.secret))
            what = "API key"
    if holder is None:
        raise _refused(what)
    if holder.expires_at is not None and holder.expires_at <= now():
        raise Unauthenticated(f"The {what} has expired.", code="token_expired", hint=_HINT)
    return holder


def _refused(what: str) -> Unauthenticated:
    return Unauthenticated(
        f"The {what} is not known here, or was revoked.", code="invalid_token", hint=_HINT
    )
