"""Settings of the server, read from MALOCA_* variables."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl

from maloca.core.settings import Port, Seconds, Settings, Token, is_loopback


def _loopback_only(host: str) -> str:
    if not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from other machines, and there are no accounts yet to keep "
            "strangers out; use 127.0.0.1, localhost or ::1"
        )
    return host


class ServerSettings(Settings):
    """Everything about the server that its owner may choose."""

    host: Annotated[str, AfterValidator(_loopback_only)] = Field(
        default="127.0.0.1", description="Address to listen on; loopback only until accounts exist."
    )
    port: Port = 8000
    engine_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8001"), description="Where the engine listens."
    )
    engine_token: Token = Field(default=None, description="The engine's bearer token.")
    request_timeout: Seconds = Field(
        default=600, description="Seconds that an answer may take in all."
    )
