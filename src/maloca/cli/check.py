"""What one check of `maloca doctor` finds."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from maloca.cli.i18n import t

Status = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True):
    """One line of the report.

    Attributes:
        name: Stable, for programs.
        status: "fail" when something will not work, "warn" when it may surprise.
        message: What was found.
        fix: What to do about it; None when all is well.
    """

    name: str
    status: Status
    message: str
    fix: str | None = None


def ok(name: str, key: str, /, **values: Any) -> Check:
    """Return a check that found all well."""
    return Check(name, "ok", t(f"doctor.{key}", **values))


def bad(status: Literal["warn", "fail"], name: str, key: str, fix: str, /, **values: Any) -> Check:
    """Return a check that found something, and what to do about it.

    Args:
        status: How bad it is.
        name: The check's name.
        key: Of the text that says what was found.
        fix: Key of the text that says what to do.
        **values: For both texts.
    """
    return Check(name, status, t(f"doctor.{key}", **values), t(f"doctor.{fix}", **values))
