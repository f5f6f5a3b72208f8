"""What jobs carry: JSON that is small enough to stand in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from maloca.core.errors import InvalidRequest

MAX_BYTES: Final = 256 * 1024


def small_json(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a copy as the database keeps it.

    Raises:
        InvalidRequest: It cannot be written as JSON, or is too large.
    """
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The {name} is no JSON: {error}.", param=name) from error
    if len(text) > MAX_BYTES:
        raise InvalidRequest(
            f"The {name} has {len(text):,} bytes; {MAX_BYTES:,} are possible.",
            param=name,
            hint="Keep what is large in a file or a table of its own, and its name here.",
        )
    copy: dict[str, Any] = msgspec.json.decode(text)
    return copy
