"""Names of accounts: in any script, and compared without case."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from maloca.core.errors import InvalidRequest
from maloca.server.accounts.models import MAX_USERNAME

_VALID: Final = re.compile(r"[^\W_][\w.@+-]{0,63}")


def accept(name: str) -> str:
    """Return a new account's name as it is shown.

    Raises:
        InvalidRequest: It cannot be a name.
    """
    composed = unicodedata.normalize("NFKC", name)
    if not _VALID.fullmatch(composed):
        raise InvalidRequest(
            f"{name[:MAX_USERNAME]!r} cannot be a name.",
            param="username",
            hint=f"Use 1 to {MAX_USERNAME} letters, digits and . _ @ + -, beginning with a letter "
            "or digit.",
        )
    return composed


def key(name: str) -> str:
    """Return a name as it is compared; whatever is no name is compared all the same."""
    return unicodedata.normalize("NFKC", name[:MAX_USERNAME]).casefold()
