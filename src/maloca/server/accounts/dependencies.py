"""Who asks, as routes receive it; the same for HTTP and WebSockets."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from maloca.core.errors import Forbidden
from maloca.server.accounts import authentication
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.errors import InsufficientScope, Unauthenticated
from maloca.server.accounts.principal import Principal, Scope
from maloca.server.db.database import Database


def accounts_of(connection: HTTPConnection) -> Accounts:
    """Return what the lifespan made for accounts."""
    accounts: Accounts = connection.state.accounts
    return accounts


AccountsDep = Annotated[Accounts, Depends(accounts_of)]


async def principal(connection: HTTPConnection, accounts: AccountsDep) -> Principal:
    """Return who asks, whoever it is.

    The look-up has a short transaction of its own: an answer that takes minutes must not keep a
    connection to the database.
    """
    database: Database = connection.state.database
    async with database.read() as session:
        found = await authentication.authenticate(connection, session)
    await accounts.note_use(found)
    return found


AnyPrincipal = Annotated[Principal, Depends(principal)]


def caller(found: AnyPrincipal) -> Principal:
    """Return a caller who may have answers from models."""
    require_scope(found, "inference")
    return found


def user(found: AnyPrincipal) -> Principal:
    """Return a caller with an account."""
    if found.user_id is None:
        raise Unauthenticated(
            "This needs an account.", hint="Register at /auth/register, or sign in at /auth/login."
        )
    return found


def signed_in(found: Annotated[Principal, Depends(user)]) -> Principal:
    """Return a caller who signed in; with a key alone nobody changes an account."""
    if found.session_id is None:
        raise InsufficientScope(
            "An API key cannot change an account.", hint="Sign in with the password at /auth/login."
        )
    return found


def admin(found: Annotated[Principal, Depends(user)]) -> Principal:
    """Return an owner or an administrator whose credential allows administration."""
    if found.role not in {"owner", "admin"}:
        raise Forbidden("This is for administrators.", code="admins_only")
    require_scope(found, "admin")
    return found


def require_scope(found: Principal, scope: Scope) -> None:
    """Check what a credential was made for.

    Raises:
        InsufficientScope: It was made for something else.
    """
    if scope not in found.scopes:
        raise InsufficientScope(
            f"The credential does not have the scope {scope!r}.",
            hint="Make an API key with that scope, or sign in.",
        )


CallerDep = Annotated[Principal, Depends(caller)]
UserDep = Annotated[Principal, Depends(user)]
SignedInDep = Annotated[Principal, Depends(signed_in)]
AdminDep = Annotated[Principal, Depends(admin)]
