"""Which names a model, an alias and a model's file may have."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from maloca.core.errors import InvalidRequest

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_RULE: Final = (
    "A name has 1 to 64 lower-case letters, digits, dots, dashes and underscores, begins with a "
    "letter or digit, ends in neither a dot nor `.lock`, and holds no `..`."
)


def check_name(name: str, *, what: str = "model name") -> str:
    """Return the name when it is safe as a folder's name on every platform.

    Raises:
        InvalidRequest: It is not; the message quotes it and the hint gives the rule.
    """
    if (
        _NAME.fullmatch(name) is None
        or ".." in name
        or name.endswith((".", ".lock"))
        or _DEVICES.fullmatch(name) is not None  # Windows opens a device under these names.
    ):
        raise InvalidRequest(f"{name[:100]!r} is not a {what}.", code="bad_name", hint=_RULE)
    return name


def safe_relative(path: str) -> bool:
    """Whether a file's path stays inside its folder on every platform."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and not any(char in path for char in "\\:\0")
        and not path.startswith("/")
        and path == "/".join(parts)
        and not any(part in {"..", "."} for part in parts)
    )


def name_from(stem: str) -> str:
    """Return the nearest valid model name to a file's stem, such as `My Model.Q4` → `my-model.q4`.

    Raises:
        InvalidRequest: Nothing usable is left of it.
    """
    lowered = re.sub(r"[^a-z0-9._-]+", "-", stem.lower())
    return check_name(re.sub(r"\.{2,}", ".", lowered).strip("-._")[:64].rstrip("-._"))
