"""API keys: made once, shown once, and revoked at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import Forbidden, NotFound
from maloca.server.accounts import audit, key_repository, tokens
from maloca.server.accounts.errors import Conflict
from maloca.server.accounts.models import ApiKey
from maloca.server.accounts.principal import Principal, Scope
from maloca.server.db.base import now

MAX_KEYS: Final = 100


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at the only moment at which it is known."""

    record: ApiKey
    secret: str = field(repr=False)


async def create(
    session: AsyncSession,
    principal: Principal,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_in_days: float | None,
) -> NewKey:
    """Make a key for whoever asks.

    Raises:
        Forbidden: A scope is asked for that their role does not have.
        Conflict: They have too many keys.
    """
    beyond = sorted(set(scopes) - principal.scopes)
    if beyond:
        raise Forbidden(
            f"Your account cannot give the scope {beyond[0]!r}.", code="insufficient_scope"
        )
    if await key_repository.count_keys(session, principal.user_id or "") >= MAX_KEYS:
        raise Conflict(
            f"You have {MAX_KEYS} API keys already.", hint="Revoke one that is not used."
        )
    secret = tokens.new_secret(tokens.API_KEY)
    lifetime = None if expires_in_days is None else dt.timedelta(days=expires_in_days)
    key = ApiKey(
        user_id=principal.user_id,
        name=name,
        prefix=secret[: tokens.SHOWN_PREFIX],
        key_hash=tokens.digest(secret),
        scopes=" ".join(sorted(set(scopes))),
        expires_at=now() + lifetime if lifetime else None,
    )
    await key_repository.add_key(session, key)
    await audit.record(
        session,
        "key.created",
        actor=principal.username,
        address=principal.address,
        key=key.prefix,
        scopes=key.scopes,
    )
    return NewKey(key, secret)


async def revoke(session: AsyncSession, principal: Principal, key_id: str) -> None:
    """Revoke one of one's own keys.

    Raises:
        NotFound: There is none of that id, or it is another's.
    """
    prefix = await key_repository.delete_key(session, key_id, principal.user_id or "")
    if prefix is None:
        raise NotFound(f"You have no API key {key_id[:40]!r}.")
    await audit.record(
        session, "key.revoked", actor=principal.username, address=principal.address, key=prefix
    )
