"""What the services' settings classes share."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class BadSetting(Exception):  # noqa: N818 - the name says what happened
    """A setting's value cannot be used; the service does not start."""


class Settings(BaseSettings):
    """Read from MALOCA_* variables and `.env`; a bad value stops the start."""

    model_config = SettingsConfigDict(
        env_prefix="MALOCA_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Return the settings in force; overrides beat the environment.

        Raises:
            BadSetting: Names each variable at fault, its value and the accepted form.
        """
        try:
            return cls(**{k: v for k, v in overrides.items() if v is not None})
        except ValidationError as error:
            raise BadSetting("\n".join(map(_explain, error.errors()))) from None


def _explain(error: Any) -> str:
    """Say which variable has which value, and what it should be."""
    name = "_".join(str(part) for part in error["loc"]).upper()
    variable = name if name.startswith("MALOCA_") else f"MALOCA_{name}"
    return f"{variable}={error['input']!r} cannot be used: {error['msg']}."
