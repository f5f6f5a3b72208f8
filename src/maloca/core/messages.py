"""What a conversation is made of."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation. `content` is plain text, never control tokens."""

    role: Role
    content: str
    name: str | None = None
