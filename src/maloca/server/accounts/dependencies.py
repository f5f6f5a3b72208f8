"""Who asks, as routes receive it; the same for HTTP and WebSockets."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Response, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from maloca.core.errors import Forbidden
from maloca.server.accounts import authentication, cookies, credentials
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.address import client_address, is_this_machine
from maloca.server.accounts.errors import InsufficientScope, Unauthenticated
from maloca.server.accounts.principal import Principal, Scope
from maloca.server.accounts.sessions import Client
from maloca.server.db.database import Database


async def accounts_of(connection: HTTPConnection) -> Accounts:
    """Return what the lifespan made for accounts."""
    accounts: Accounts = connection.state.accounts
    return accounts


AccountsDep = Annotated[Accounts, Depends(accounts_of)]


async def no_store(response: Response) -> None:
    """Keep what is answered out of every cache."""
    response.headers["Cache-Control"] = "no-store"


async def secure(connection: HTTPConnection, accounts: AccountsDep) -> bool:
    """Return whether cookies of this connection are marked Secure."""
    return cookies.is_secure(connection, chosen=accounts.settings.secure_cookies)


SecureDep = Annotated[bool, Depends(secure)]


async def client(connection: HTTPConnection, accounts: AccountsDep, secure: SecureDep) -> Client:
    """Return what is known of a client that has not signed in yet."""
    return Client(
        address=client_address(connection, accounts.settings.trusted_proxies),
        user_agent=connection.headers.get("user-agent", ""),
        device=cookies.device_of(connection, secure=secure),
    )


async def same_origin(connection: HTTPConnection) -> None:
    """Refuse pages of other sites; without it, one could sign a browser in as somebody else.

    Raises:
        CrossSiteRequest: As said.
    """
    credentials.refuse_cross_site(connection, strictly=False)


async def this_machine(connection: HTTPConnection) -> None:
    """Refuse clients elsewhere, and those behind a proxy.

    Raises:
        Forbidden: As said.
    """
    if not is_this_machine(connection):
        raise Forbidden(
            "The owner's account can be made on the server's own machine alone.",
            code="not_this_machine",
            hint="Open the link there, or: maloca admin users add NAME --role owner.",
        )


ClientDep = Annotated[Client, Depends(client)]
ThisMachineDep = Annotated[None, Depends(this_machine)]


class _Documented(SecurityBase):
    """Tells OpenAPI of the credential; `authenticate` reads it, whichever way it comes."""

    def __init__(self) -> None:
        self.model = HTTPBearer(description="An access token or an API key.")
        self.scheme_name = "bearer"

    async def __call__(self) -> None:
        """Do nothing."""


async def principal(
    connection: HTTPConnection,
    accounts: AccountsDep,
    _: Annotated[None, Security(_Documented())] = None,
) -> Principal:
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


async def caller(found: AnyPrincipal) -> Principal:
    """Return a caller who may have answers from models."""
    require_scope(found, "inference")
    return found


async def user(found: AnyPrincipal) -> Principal:
    """Return a caller with an account."""
    if found.user_id is None:
        raise Unauthenticated(
            "This needs an account.", hint="Register at /auth/register, or sign in at /auth/login."
        )
    return found


async def signed_in(found: Annotated[Principal, Depends(user)]) -> Principal:
    """Return a caller who signed in; with a key alone nobody changes an account."""
    if found.session_id is None:
        raise InsufficientScope(
            "An API key cannot change an account.", hint="Sign in with the password at /auth/login."
        )
    return found


async def admin(found: Annotated[Principal, Depends(user)]) -> Principal:
    """Return an owner or an administrator whose credential allows administration."""
    if found.role not in {"owner", "admin"}:
        raise Forbidden("This is for administrators.", code="admins_only")
    require_scope(found, "admin")
    return found


async def may_read_metrics(connection: HTTPConnection, accounts: AccountsDep) -> None:
    """Let this machine read metrics, and administrators from anywhere.

    Raises:
        Unauthenticated: The caller is elsewhere, without an account.
        Forbidden: The caller is no administrator.
    """
    if not is_this_machine(connection):
        found = await principal(connection, accounts)
        await admin(await user(found))


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
