"""How commands speak: data to stdout, messages and progress to stderr.

Bars and colours appear on a terminal only; `NO_COLOR` is honoured by rich.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from maloca.core.errors import MalocaError

out: Final = Console(highlight=False, soft_wrap=True)
err: Final = Console(stderr=True, highlight=False, soft_wrap=True)

Report = Callable[[int, int | None], None]
"""Takes the amount done and the total (None while unknown), both in bytes."""

_KIB: Final = 1024.0
_CONTROL: Final = (*range(32), *range(127, 160))
_HIDDEN: Final = {code: "\ufffd" for code in _CONTROL if chr(code) not in "\t\n"}


def write(text: str, *, end: str = "\n") -> None:
    """Write data to stdout exactly as it is, at once."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def write_text(text: str) -> None:
    """Write a piece of an answer to stdout at once.

    In a pipe it is exact. On a terminal, control characters are made visible, so that what a
    model says cannot drive the terminal.
    """
    write(visible(text) if sys.stdout.isatty() else text, end="")


def visible(text: str) -> str:
    """Replace control characters, except tabs and line feeds, by a visible sign."""
    return text.translate(_HIDDEN)


def write_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    write(json.dumps(value, indent=2, ensure_ascii=False))


def say(message: str, *, style: str = "") -> None:
    """Write a message for a person to stderr; square brackets in it are plain text."""
    err.print(Text(message, style=style))


def warn(message: str, hint: str | None = None) -> None:
    """Say what may surprise later, and what to do about it."""
    _labelled("Warning:", "yellow", message, hint)


def error(message: str, hint: str | None = None) -> None:
    """Say what failed, and the way out. The caller chooses the exit code."""
    _labelled("Error:", "bold red", message, hint)


def fail(failure: MalocaError) -> None:
    """Say what failed, with the hint that the error carries."""
    error(failure.info.message, failure.info.hint)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> None:
    """Write aligned columns to stdout, complete whatever the terminal's width.

    Args:
        columns: The headings.
        rows: Cells in the order of the headings.
        right: Headings of columns that align to the right, such as sizes.
    """
    widths = [
        max(Text(str(cell)).cell_len for cell in column)
        for column in zip(columns, *rows, strict=True)
    ]

    def line(cells: Sequence[str], style: str = "") -> Text:
        text = Text(style=style)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            padding = " " * (width - Text(cell).cell_len)
            text.append(padding + cell if columns[index] in right else cell + padding)
            text.append("  ")
        text.rstrip()
        return text

    out.print(line(columns, "dim"))
    for row in rows:
        out.print(line(row))


def interactive() -> bool:
    """Tell whether a person sits at both ends: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def size(count: float) -> str:
    """Return bytes for a reader, such as `91.7 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.1f} TiB"


@contextmanager
def download(label: str) -> Iterator[Report]:
    """Show a bar with speed and remaining time on a terminal, one plain line elsewhere.

    Yields:
        A function to call with the bytes done and the total, as often as is convenient.
    """
    if not err.is_terminal:
        say(f"{label} …")
        yield lambda _done, _total: None
        return
    # The bar's classes take 60 ms to import, which only a download should pay.
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(label, total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield report


def _labelled(label: str, style: str, message: str, hint: str | None) -> None:
    err.print(Text.assemble((label, style), " ", message))
    if hint:
        err.print(Text(hint, style="dim"))
