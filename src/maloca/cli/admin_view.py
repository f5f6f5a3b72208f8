"""Accounts and security events as tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from maloca.cli import console
from maloca.server.accounts.schemas import AuditRead, UserRead


def users_table(users: Sequence[UserRead]) -> None:
    """Write one line for each account."""
    console.table(
        ["NAME", "ROLE", "STATE", "CREATED", "LAST LOGIN"],
        [
            [
                user.username,
                user.role,
                "disabled" if user.disabled_at else "enabled",
                _local(user.created_at),
                _local(user.last_login_at),
            ]
            for user in users
        ],
    )


def audit_table(events: Sequence[AuditRead]) -> None:
    """Write one line for each event."""
    console.table(
        ["TIME", "ACTION", "BY", "ACCOUNT", "ADDRESS", "DETAIL"],
        [
            [
                _local(event.at),
                event.action,
                event.actor,
                event.target,
                event.address,
                " ".join(f"{name}={value}" for name, value in event.detail.items()),
            ]
            for event in events
        ],
    )


def _local(moment: dt.datetime | None) -> str:
    return "–" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
