"""Settings of inference: limits, the cache, and who may ask without an account."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, AliasChoices, Field, SecretStr

from maloca.core.settings import Seconds, Settings
from maloca.server.limits.rates import MAX_REQUESTS, MAX_WINDOW_SECONDS, Rate

_SCHEMES: Final = ("redis://", "rediss://", "unix://")


def _redis(url: SecretStr | None) -> SecretStr | None:
    if url is not None and not url.get_secret_value().startswith(_SCHEMES):
        raise ValueError("use redis://HOST:PORT/0, rediss://… or unix://…")
    return url


class InferenceSettings(Settings):
    """What the owner may choose about inference."""

    anonymous_predict: bool = Field(
        default=False,
        description="Let anybody use /predict without an account, limited by IP address.",
    )
    rate_limit_requests: int = Field(
        default=10,
        ge=1,
        le=MAX_REQUESTS,
        validation_alias=AliasChoices("MALOCA_RATE_LIMIT_REQUESTS", "RATE_LIMIT_REQUESTS"),
        description="Requests to /predict that a user or address may make in each window.",
    )
    rate_limit_window_seconds: int = Field(
        default=60,
        ge=1,
        le=MAX_WINDOW_SECONDS,
        validation_alias=AliasChoices(
            "MALOCA_RATE_LIMIT_WINDOW_SECONDS", "RATE_LIMIT_WINDOW_SECONDS"
        ),
        description="Length of that window, in seconds.",
    )
    tokens_per_day: int | None = Field(
        default=None,
        ge=0,
        le=10**15,
        description="Tokens that a user may use in a day of UTC; not set means without a limit.",
    )
    redis_url: Annotated[SecretStr | None, AfterValidator(_redis)] = Field(
        default=None,
        description="Redis that counts requests for all workers and replicas together; without "
        "it, each process counts by itself.",
    )
    cache_mb: int = Field(
        default=32,
        ge=0,
        le=65_536,
        description="Memory for answers that would be the same again, in MiB; 0 turns the cache "
        "off. The database keeps up to eight times as much.",
    )
    cache_seconds: Seconds = Field(default=3600, description="Seconds that a cached answer lasts.")

    @property
    def predict_rate(self) -> Rate:
        """What anybody may ask of `/predict`."""
        return Rate(self.rate_limit_requests, self.rate_limit_window_seconds)
