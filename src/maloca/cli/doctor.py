"""`maloca doctor`: one line a check, with what to do."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Final

import msgspec
import typer
from rich.text import Text

from maloca import __version__
from maloca.cli import console
from maloca.cli.check import Check, Status
from maloca.cli.i18n import t
from maloca.cli.machine_checks import machine_checks
from maloca.cli.options import AsJson
from maloca.cli.service_checks import service_checks

app = typer.Typer(add_completion=False)

_STYLES: Final[dict[Status, str]] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@app.command()
def doctor(*, as_json: AsJson = False) -> None:
    """Check this machine, and say what to fix.

    Exit code 1 when a check fails; warnings alone leave it 0.
    """
    found: list[Check] = []
    for check in chain(machine_checks(), service_checks()):
        found.append(check)
        if not as_json:
            _show(check)
    count = Counter(check.status for check in found)
    if as_json:
        console.write_json(
            {
                "ok": count["fail"] == 0,
                "version": __version__,
                "checks": [msgspec.to_builtins(check) for check in found],
            }
        )
    elif count["fail"] or count["warn"]:
        console.out.print(t("doctor.summary", fail=count["fail"], warn=count["warn"]))
    else:
        console.out.print(t("doctor.all_well"))
    raise typer.Exit(1 if count["fail"] else 0)


def _show(check: Check) -> None:
    """Print a check's line; its fix follows, indented, when there is something to do."""
    status = (f"{check.status:<4}", _STYLES[check.status])
    console.out.print(Text.assemble(status, f"  {check.name:<16}  {check.message}"))
    if check.fix:
        console.out.print(Text(f"{'':24}→ {check.fix}", style="dim"))
