"""Settings of the engine, read from MALOCA_ENGINE_* variables."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from maloca.core.home import models_dir
from maloca.core.settings import Port, Seconds, Settings, Token, is_loopback


class EngineSettings(Settings):
    """Everything about the engine that its owner may choose."""

    model_config = SettingsConfigDict(env_prefix="MALOCA_ENGINE_")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = 8001
    token: Token = Field(
        default=None, description="Bearer token; needed to listen beyond loopback."
    )
    models_dir: Path = Field(
        default_factory=models_dir,
        validation_alias="MALOCA_MODELS_DIR",
        description="Folder of the model store.",
    )
    preload: bool = Field(default=True, description="Load the aliased models at start.")
    queue_limit: int = Field(
        default=64, ge=1, le=100_000, description="Requests that may wait for one model."
    )
    max_running: int = Field(
        default=16, ge=1, le=256, description="Requests that one model answers at the same time."
    )
    kv_cache_mb: int = Field(
        default=1024, ge=64, description="Memory for one model's KV cache, in MiB."
    )
    prefix_cache: bool = Field(default=True, description="Reuse the KV cache of shared prefixes.")
    prefill_chunk: int = Field(
        default=256, ge=32, le=8192, description="Prompt tokens that one step reads at most."
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="Threads per worker; 0 lets it choose."
    )
    load_timeout: Seconds = Field(default=600, description="Seconds that a load may take.")
    step_timeout: Seconds = Field(
        default=60, description="Seconds without a sign of life before a worker is replaced."
    )
    request_timeout: Seconds = Field(
        default=600, description="Seconds that a request without a budget may take."
    )

    @model_validator(mode="after")
    def _guard_the_network(self) -> Self:
        if not is_loopback(self.host) and self.token is None:
            raise ValueError(
                f"MALOCA_ENGINE_HOST={self.host!r} can be reached from other machines, so a "
                "token is needed: set MALOCA_ENGINE_TOKEN, or use 127.0.0.1"
            )
        return self
