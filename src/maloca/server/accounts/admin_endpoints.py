"""`/admin/api`: the accounts of others, invitations and the audit log, for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from maloca.asgi.strict_json import StrictRoute
from maloca.dialects.fields import errors
from maloca.server.accounts import (
    administration,
    audit_repository,
    invitation_repository,
    invitations,
    repository,
)
from maloca.server.accounts.dependencies import AccountsDep, AdminDep, no_store
from maloca.server.accounts.schemas import (
    AuditRead,
    InvitationCreate,
    InvitationCreated,
    InvitationRead,
    PasswordReset,
    UserRead,
    UserUpdate,
)
from maloca.server.db.dependencies import ReadSession, WriteSession

router = APIRouter(
    prefix="/admin/api",
    tags=["administration"],
    route_class=StrictRoute,
    dependencies=[Depends(no_store)],
    responses=errors(401, 403, 413, 422),
)

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
Before = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
ActionName = Annotated[str | None, Query(max_length=40, pattern=r"^[a-z._]+$")]


@router.get("/users")
async def list_users(
    _: AdminDep, session: ReadSession, limit: Limit = 100, offset: Offset = 0
) -> list[UserRead]:
    """List accounts by name."""
    found = await repository.list_users(session, limit=limit, offset=offset)
    return [UserRead.of(user) for user in found]


@router.patch("/users/{user_id}", responses=errors(404, 409))
async def update_user(
    user_id: str, body: UserUpdate, actor: AdminDep, session: WriteSession
) -> UserRead:
    """Disable or enable an account, or change its role."""
    user = await administration.get_user_or_raise(session, user_id)
    if body.role is not None:
        await administration.set_role(session, actor, user, body.role)
    if body.disabled is not None:
        await administration.set_disabled(session, actor, user, disabled=body.disabled)
    return UserRead.of(user)


@router.delete("/users/{user_id}", status_code=204, responses=errors(404, 409))
async def delete_user(user_id: str, actor: AdminDep, session: WriteSession) -> None:
    """Remove an account with everything in it."""
    user = await administration.get_user_or_raise(session, user_id)
    await administration.delete_user(session, actor, user)


@router.post("/users/{user_id}/reset-password", responses=errors(404))
async def reset_password(user_id: str, actor: AdminDep, accounts: AccountsDep) -> PasswordReset:
    """Give an account a generated password, and end its sessions."""
    async with accounts.database.read() as session:
        user = await administration.get_user_or_raise(session, user_id)
    return PasswordReset(password=await administration.reset_password(accounts, actor, user))


@router.get("/invitations")
async def list_invitations(_: AdminDep, session: ReadSession) -> list[InvitationRead]:
    """List the invitations that may still be used."""
    return [InvitationRead.of(each) for each in await invitation_repository.list_open(session)]


@router.post("/invitations", status_code=201, responses=errors(409))
async def create_invitation(
    body: InvitationCreate, actor: AdminDep, accounts: AccountsDep, session: WriteSession
) -> InvitationCreated:
    """Make an invitation; its token is shown this once."""
    made = await invitations.invite(
        accounts, session, actor, role=body.role, days=body.expires_in_days
    )
    return InvitationCreated.of_new(made)


@router.delete("/invitations/{invitation_id}", status_code=204, responses=errors(404))
async def revoke_invitation(invitation_id: str, actor: AdminDep, session: WriteSession) -> None:
    """Take an invitation back."""
    await invitations.revoke(session, actor, invitation_id)


@router.get("/audit")
async def list_audit(
    _: AdminDep,
    session: ReadSession,
    limit: Limit = 100,
    before: Before = None,
    action: ActionName = None,
) -> list[AuditRead]:
    """List security events, the latest first; `before` is the last id of the page before."""
    found = await audit_repository.list_events(session, limit=limit, before=before, action=action)
    return [AuditRead.of(event) for event in found]
