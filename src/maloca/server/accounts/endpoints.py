"""`/auth`: registering, signing in and out, and what is one's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from maloca.asgi.strict_json import StrictRoute
from maloca.dialects.fields import errors
from maloca.server.accounts import (
    api_keys,
    cookies,
    key_repository,
    service,
    session_repository,
    sessions,
)
from maloca.server.accounts.dependencies import (
    AccountsDep,
    ClientDep,
    SecureDep,
    SignedInDep,
    ThisMachineDep,
    UserDep,
    no_store,
    same_origin,
)
from maloca.server.accounts.export import Export
from maloca.server.accounts.schemas import (
    BrowserLoginRequest,
    KeyCreate,
    KeyCreated,
    KeyRead,
    LoginForm,
    MeRead,
    PasswordChange,
    PasswordConfirmation,
    RefreshRequest,
    RegisterRequest,
    Revoked,
    SessionRead,
    SetupRequest,
    TokensRead,
    UserRead,
)
from maloca.server.db.dependencies import ReadSession, WriteSession

router = APIRouter(
    prefix="/auth",
    tags=["accounts"],
    route_class=StrictRoute,
    dependencies=[Depends(no_store)],
    responses=errors(401, 403, 413, 422),
)
# The one route that reads a form, as OAuth 2 has it.
form_router = APIRouter(
    prefix="/auth", tags=["accounts"], dependencies=[Depends(no_store)], responses=errors(413, 422)
)


@router.post("/register", status_code=201, responses=errors(409, 429))
async def register(body: RegisterRequest, accounts: AccountsDep, client: ClientDep) -> UserRead:
    """Make an account."""
    made = await service.register(accounts, body.username, body.password, body.invitation, client)
    return UserRead.of(made)


@router.post("/setup", status_code=201, responses=errors(409, 429))
async def set_up(
    body: SetupRequest, accounts: AccountsDep, client: ClientDep, _: ThisMachineDep
) -> UserRead:
    """Make the owner's account, on the server's machine, by the link of its terminal."""
    made = await service.set_up(accounts, body.token, body.username, body.password, client)
    return UserRead.of(made)


@form_router.post("/login", responses=errors(401, 403, 429))
async def login(
    form: Annotated[LoginForm, Form()], accounts: AccountsDep, client: ClientDep
) -> TokensRead:
    """Sign a program in: an access token for minutes, and a refresh token for the next one."""
    tokens = await sessions.log_in(accounts, form.username, form.password, client)
    return TokensRead.of(tokens, seconds=accounts.signer.seconds)


@router.post("/refresh", responses=errors(401))
async def refresh(body: RefreshRequest, accounts: AccountsDep, client: ClientDep) -> TokensRead:
    """Exchange a refresh token for new tokens; one that comes twice ends the session."""
    tokens = await sessions.refresh(accounts, body.refresh_token, client)
    return TokensRead.of(tokens, seconds=accounts.signer.seconds)


@router.post("/logout", status_code=204)
async def logout(
    user: SignedInDep, session: WriteSession, response: Response, secure: SecureDep
) -> None:
    """End the session in use, at once and everywhere."""
    await sessions.log_out(session, user)
    cookies.clear_session(response, secure=secure)


@router.get("/me", responses=errors(401))
async def me(user: UserDep, session: ReadSession) -> MeRead:
    """Tell who one is."""
    return MeRead.of_principal(await service.get_self(session, user), user)


@router.delete("/me", status_code=204, responses=errors(409, 429))
async def delete_me(
    body: PasswordConfirmation, user: SignedInDep, accounts: AccountsDep, client: ClientDep
) -> None:
    """Remove one's own account with everything in it."""
    await service.delete_self(accounts, user, body.password, client)


@router.get("/me/export")
async def export_me(user: SignedInDep, session: WriteSession) -> Export:
    """Return all that is stored of one's own, table by table, without secrets."""
    return await service.export_self(session, user)


@router.post("/password", status_code=204, responses=errors(429))
async def change_password(
    body: PasswordChange, user: SignedInDep, accounts: AccountsDep, client: ClientDep
) -> None:
    """Change one's own password; all other sessions end."""
    await service.change_password(accounts, user, body.current_password, body.new_password, client)


@router.get("/sessions")
async def list_sessions(user: SignedInDep, session: ReadSession) -> list[SessionRead]:
    """List one's own sessions."""
    found = await session_repository.list_sessions(session, user.user_id or "")
    return [SessionRead.of(each, current=user.session_id) for each in found]


@router.post(
    "/sessions", status_code=201, responses=errors(429), dependencies=[Depends(same_origin)]
)
async def log_in_browser(
    body: BrowserLoginRequest,
    accounts: AccountsDep,
    client: ClientDep,
    response: Response,
    secure: SecureDep,
) -> UserRead:
    """Sign a browser in: its session is a cookie that no script can read."""
    made = await sessions.log_in_browser(accounts, body.username, body.password, client)
    days = accounts.settings.session_days
    cookies.set_session(response, made.secret, days=days, secure=secure)
    cookies.set_device(response, made.device, secure=secure)
    return UserRead.of(made.user)


@router.delete("/sessions")
async def revoke_other_sessions(user: SignedInDep, session: WriteSession) -> Revoked:
    """End all of one's own sessions but the one in use."""
    return Revoked(revoked=await sessions.revoke_others(session, user))


@router.delete("/sessions/{session_id}", status_code=204, responses=errors(404))
async def revoke_session(session_id: str, user: SignedInDep, session: WriteSession) -> None:
    """End one of one's own sessions."""
    await sessions.revoke(session, user, session_id)


@router.get("/api-keys")
async def list_keys(user: SignedInDep, session: ReadSession) -> list[KeyRead]:
    """List one's own API keys."""
    return [KeyRead.of(key) for key in await key_repository.list_keys(session, user.user_id or "")]


@router.post("/api-keys", status_code=201, responses=errors(409))
async def create_key(body: KeyCreate, user: SignedInDep, session: WriteSession) -> KeyCreated:
    """Make an API key; it is shown this once."""
    made = await api_keys.create(
        session, user, name=body.name, scopes=body.scopes, expires_in_days=body.expires_in_days
    )
    return KeyCreated.of_new(made)


@router.delete("/api-keys/{key_id}", status_code=204, responses=errors(404))
async def revoke_key(key_id: str, user: SignedInDep, session: WriteSession) -> None:
    """Revoke one of one's own API keys, at once and everywhere."""
    await api_keys.revoke(session, user, key_id)
