"""Invitations, and the link with which a house gets its owner."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import Forbidden, NotFound
from maloca.server.accounts import audit, invitation_repository, repository, tokens
from maloca.server.accounts.accounts import Accounts
from maloca.server.accounts.errors import Conflict
from maloca.server.accounts.models import Invitation
from maloca.server.accounts.principal import Principal, Role
from maloca.server.db.base import now
from maloca.server.db.database import Database

SETUP_HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation at the only moment at which its token is known."""

    record: Invitation
    token: str = field(repr=False)


async def invite(
    accounts: Accounts, session: AsyncSession, principal: Principal, *, role: Role, days: float
) -> NewInvitation:
    """Make an invitation.

    Raises:
        Conflict: Nobody can register here, so it would be worthless.
        Forbidden: Only an owner invites administrators.
    """
    if accounts.settings.who_may_register == "closed":
        raise Conflict(
            "Registration is closed, so an invitation would be worthless.",
            code="registration_closed",
            hint="Set MALOCA_REGISTRATION=invite, or make the account: maloca admin users add.",
        )
    if role != "user" and principal.role != "owner":
        raise Forbidden("Only an owner can invite administrators.", code="owners_only")
    made = await _add(session, role, dt.timedelta(days=days), created_by=principal.user_id)
    await audit.record(
        session,
        "invitation.created",
        actor=principal.username,
        address=principal.address,
        role=role,
    )
    return made


async def revoke(session: AsyncSession, principal: Principal, invitation_id: str) -> None:
    """Take an invitation back.

    Raises:
        NotFound: There is none of that id.
    """
    if not await invitation_repository.delete_open(session, invitation_id):
        raise NotFound(f"There is no invitation {invitation_id[:40]!r}.")
    await audit.record(
        session, "invitation.revoked", actor=principal.username, address=principal.address
    )


async def new_setup_token(database: Database) -> str | None:
    """Return a new one-time token to make the owner's account, or None if there is an owner.

    Earlier ones become worthless. It is for the terminal of whoever runs the server.
    """
    async with database.write() as session:
        if await repository.owner_exists(session):
            return None
        await invitation_repository.delete_setup_links(session)
        made = await _add(session, "owner", dt.timedelta(hours=SETUP_HOURS), created_by=None)
        await audit.record(session, "setup_link.created", actor=audit.COMMAND_LINE)
    return made.token


async def _add(
    session: AsyncSession, role: Role, lifetime: dt.timedelta, *, created_by: str | None
) -> NewInvitation:
    token = tokens.new_secret(tokens.INVITATION)
    record = Invitation(
        token_hash=tokens.digest(token),
        role=role,
        created_by=created_by,
        expires_at=now() + lifetime,
    )
    return NewInvitation(await invitation_repository.add_invitation(session, record), token)
