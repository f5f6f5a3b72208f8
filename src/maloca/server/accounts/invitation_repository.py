"""Queries for invitations and the owner's set-up link."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts.models import Invitation
from maloca.server.db.base import now


async def add_invitation(session: AsyncSession, invitation: Invitation) -> Invitation:
    """Add an invitation."""
    session.add(invitation)
    await session.flush()
    return invitation


async def use_invitation(
    session: AsyncSession, token_hash: str, *, for_owner: bool
) -> Invitation | None:
    """Use an invitation up; of any number who try, one gets it, and the others None."""
    query = (
        update(Invitation)
        .where(
            Invitation.token_hash == token_hash,
            Invitation.used_at.is_(None),
            Invitation.expires_at > now(),
            (Invitation.role == "owner") if for_owner else (Invitation.role != "owner"),
        )
        .values(used_at=now())
        .returning(Invitation)
    )
    return (await session.scalars(query)).one_or_none()


async def list_open(session: AsyncSession) -> Sequence[Invitation]:
    """Return the invitations that may still be used, the latest first."""
    query = (
        select(Invitation)
        .where(
            Invitation.used_at.is_(None), Invitation.expires_at > now(), Invitation.role != "owner"
        )
        .order_by(Invitation.created_at.desc(), Invitation.id)
    )
    return (await session.scalars(query)).all()


async def delete_open(session: AsyncSession, invitation_id: str) -> bool:
    """Take an invitation back; return whether there was one."""
    query = (
        delete(Invitation)
        .where(Invitation.id == invitation_id, Invitation.role != "owner")
        .returning(Invitation.id)
    )
    return await session.scalar(query) is not None


async def delete_setup_links(session: AsyncSession) -> None:
    """Make every set-up link worthless."""
    await session.execute(delete(Invitation).where(Invitation.role == "owner"))
