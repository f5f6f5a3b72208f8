"""What must be true of accounts before the server starts, and the link that begins them."""

from __future__ import annotations

from contextlib import aclosing

from maloca.core.settings import BadSetting, is_loopback
from maloca.server.accounts import invitations, repository
from maloca.server.db import versions
from maloca.server.db.database import Database
from maloca.server.settings import ServerSettings


async def check_exposure(settings: ServerSettings) -> None:
    """Refuse to be reachable from other machines while nobody owns the house.

    Raises:
        BadSetting: As said, naming the setting.
    """
    if is_loopback(settings.host) or await _has_owner(settings):
        return
    raise BadSetting(
        f"MALOCA_HOST={settings.host!r} cannot be used: {settings.host} can be reached from other "
        "machines, and nobody owns this house yet to keep strangers out; use 127.0.0.1, localhost "
        "or ::1, or make the owner first: `maloca admin users add NAME --role owner`."
    )


async def new_setup_token(settings: ServerSettings) -> str | None:
    """Return the one-time token that makes the owner's account, or None if there is an owner."""
    await versions.prepare(settings.database)
    async with aclosing(Database(settings.database)) as database:
        return await invitations.new_setup_token(database)


async def _has_owner(settings: ServerSettings) -> bool:
    state = await versions.state(settings.database)
    if not state.is_current:
        return False
    async with aclosing(Database(settings.database)) as database, database.read() as session:
        return await repository.owner_exists(session)
