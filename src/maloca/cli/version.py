"""`maloca version`: which Maloca this is, and on what it runs."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from maloca import __version__
from maloca.cli import console

app = typer.Typer(add_completion=False)


@app.command()
def version(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with Python and platform.")
    ] = False,
) -> None:
    """Print the version."""
    if as_json:
        console.write_json(
            {
                "version": __version__,
                "python": platform.python_version(),
                "implementation": platform.python_implementation(),
                "platform": platform.platform(),
            }
        )
    else:
        console.write(f"maloca {__version__}")
