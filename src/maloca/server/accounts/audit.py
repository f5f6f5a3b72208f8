"""The log of what matters to security: who did what, when and from where. Never a secret."""

from __future__ import annotations

from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.server.accounts import audit_repository
from maloca.server.accounts.models import AuditEvent

Action = Literal[
    "account.created",
    "account.deleted",
    "account.disabled",
    "account.enabled",
    "account.exported",
    "account.role_changed",
    "invitation.created",
    "invitation.revoked",
    "key.created",
    "key.revoked",
    "login.failed",
    "login.succeeded",
    "login.throttled",
    "password.changed",
    "password.reset",
    "refresh.reused",
    "session.revoked",
    "setup_link.created",
]
# The actor of what was done with a command on the server's machine.
COMMAND_LINE: Final = "(command line)"
# In place of a name without an account: people type passwords into the wrong field.
NO_ACCOUNT: Final = "(no such account)"


async def record(
    session: AsyncSession,
    action: Action,
    *,
    actor: str,
    target: str = "",
    address: str = "",
    **detail: Any,
) -> None:
    """Add an event to the transaction of what it tells about."""
    event = AuditEvent(
        action=action, actor=actor, target=target or actor, address=address, detail=detail
    )
    await audit_repository.add_event(session, event)
