"""What the services' settings classes share."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_URL_PASSWORD: Final = re.compile("//[^/@]*@")


class BadSetting(Exception):
    """A setting's value cannot be used; the service does not start."""


def is_loopback(host: str) -> bool:
    """Return whether a bind address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: Any) -> Any:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def _strong(token: SecretStr | None) -> SecretStr | None:
    if token is not None and len(token.get_secret_value()) < 16:  # noqa: PLR2004 - said below
        raise ValueError("a token needs at least 16 characters")
    return token


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Port = Annotated[int, Field(ge=0, le=65535, description="0 takes a free port.")]
Token = Annotated[SecretStr | None, AfterValidator(_strong)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Read from MALOCA_* variables and `.env`; a bad value stops the start."""

    model_config = SettingsConfigDict(
        env_prefix="MALOCA_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    allowed_hosts: CommaSeparated = Field(
        default=[],
        validation_alias="MALOCA_ALLOWED_HOSTS",
        description="Host names accepted beside loopback's own, separated by commas.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="MALOCA_LOG_LEVEL", description="What is logged."
    )
    max_body_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1024,
        validation_alias="MALOCA_MAX_BODY_BYTES",
        description="Largest request body.",
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Return the settings in force; overrides that are not None beat the environment.

        Raises:
            BadSetting: Names each variable at fault, its value and the accepted form.
        """
        try:
            return cls(**{k: v for k, v in overrides.items() if v is not None})
        except ValidationError as error:
            lines = [
                _explain(problem, cls.model_config["env_prefix"]) for problem in error.errors()
            ]
            raise BadSetting("\n".join(lines)) from None


def _explain(problem: Any, prefix: str) -> str:
    """Say which variable has which value, and what it should be; never show a secret."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return f"{message}."  # Of several settings together; it names them itself.
    name = str(problem["loc"][0]).upper()
    variable = name if name.startswith("MALOCA_") else prefix + name
    value = "(hidden)" if "TOKEN" in variable or "KEY" in variable else repr(problem["input"])
    value = _URL_PASSWORD.sub("//(hidden)@", value)
    return f"{variable}={value} cannot be used: {message}."
