"""`maloca server`: the application service alone."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from maloca.asgi.serve import run
from maloca.cli.options import Lifeline, ServerHost, ServerPort
from maloca.server.accounts.start import check_exposure
from maloca.server.app import create_app
from maloca.server.db import versions
from maloca.server.settings import ServerSettings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Run the application service alone."
)


@app.callback()
def _group() -> None:
    """Keep `serve` a command of its own, so that others can stand beside it."""


@app.command()
def serve(
    *,
    host: ServerHost = None,
    port: ServerPort = None,
    engine_url: Annotated[
        str | None,
        typer.Option(
            help="Where the engine listens.",
            show_default="MALOCA_ENGINE_URL or http://127.0.0.1:8001",
        ),
    ] = None,
    lifeline: Lifeline = False,
) -> None:
    """Serve the page and the API until SIGTERM or Ctrl-C; answers in flight may end first."""
    settings = ServerSettings.load(host=host, port=port, engine_url=engine_url)
    asyncio.run(versions.check(settings.database))
    asyncio.run(check_exposure(settings))
    code = run(
        create_app(settings),
        name="server",
        host=settings.host,
        port=settings.port,
        lifeline=lifeline,
        log_level=settings.log_level,
    )
    raise typer.Exit(code)
