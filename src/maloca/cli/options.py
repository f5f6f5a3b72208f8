"""Options that several commands share, and how they say where their defaults come from."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Lifeline = Annotated[bool, typer.Option("--lifeline", hidden=True, help="Stop when stdin ends.")]
EngineHost = Annotated[
    str | None,
    typer.Option(
        "--host", help="Address to listen on.", show_default="MALOCA_ENGINE_HOST or 127.0.0.1"
    ),
]
EnginePort = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        show_default="MALOCA_ENGINE_PORT or 8001",
        help="Port to listen on; 0 takes a free one.",
    ),
]
ServerHost = Annotated[
    str | None,
    typer.Option(
        "--host",
        help="Address to listen on; beyond loopback, an owner is needed.",
        show_default="MALOCA_HOST or 127.0.0.1",
    ),
]
ServerPort = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        show_default="MALOCA_PORT or 8000",
        help="Port to listen on; 0 takes a free one.",
    ),
]
