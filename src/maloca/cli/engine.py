"""`maloca engine`: the inference service alone."""

from __future__ import annotations

import typer

from maloca.asgi.serve import run
from maloca.cli.options import EngineHost, EnginePort, Lifeline
from maloca.engine.app import create_app
from maloca.engine.settings import EngineSettings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Run the inference service alone."
)


@app.callback()
def _group() -> None:
    """Keep `serve` a command of its own, so that others can stand beside it."""


@app.command()
def serve(*, host: EngineHost = None, port: EnginePort = None, lifeline: Lifeline = False) -> None:
    """Serve until SIGTERM or Ctrl-C; answers in flight may end first."""
    settings = EngineSettings.load(host=host, port=port)
    code = run(
        create_app(settings),
        name="engine",
        host=settings.host,
        port=settings.port,
        lifeline=lifeline,
        log_level=settings.log_level,
    )
    raise typer.Exit(code)
