"""Who makes a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["owner", "admin", "user", "anonymous"]
Scope = Literal["inference", "knowledge", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The one who asks, after authentication.

    Attributes:
        user_id: None for an anonymous caller.
        username: Empty for an anonymous caller.
        key_id: The API key that was used, if one was.
        session_id: The session that was used, if one was.
        scopes: What the credential allows; a session allows everything its role does.
        address: The client's IP address.
    """

    user_id: str | None
    username: str
    role: Role
    scopes: frozenset[Scope]
    address: str
    key_id: str | None = None
    session_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether this caller may change what concerns everybody."""
        return self.role in {"owner", "admin"} and "admin" in self.scopes

    @property
    def tenant(self) -> str:
        """The name under which this caller's data and limits are kept apart from others'."""
        return f"user:{self.user_id}" if self.user_id else f"ip:{self.address}"
