"""The entry point of the `maloca` command."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from maloca import __version__
from maloca.cli import console
from maloca.cli.lazy import LazyGroup

app = typer.Typer(
    name="maloca",
    cls=LazyGroup,
    help="A house for your own language models, on your own machine.",
    no_args_is_help=True,
    # Plain help: it starts sooner, reads well at any width, and looks the same in docs/cli.md.
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.write(f"maloca {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""
    del version  # Its callback has done the work.
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows a question mark, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    # `python -m maloca.cli.main` should speak of itself as the command that users type.
    sys.argv[0] = "maloca"
    app(prog_name="maloca")
