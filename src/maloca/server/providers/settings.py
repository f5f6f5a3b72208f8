"""Settings of providers; the server's settings include them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import AfterValidator, AliasChoices, Field, HttpUrl, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from maloca.core.settings import BadSetting, CommaSeparated, Seconds, Settings, Token
from maloca.server.providers.anthropic import ANTHROPIC_URL
from maloca.server.providers.base import NAMES, ProviderName, provider_name
from maloca.server.providers.openai import OPENAI_URL, Auth

# A file of earlier deployments, read from the folder that the server starts in.
LEGACY_FILE: Final = Path("config") / "config.json"


def _names(given: list[str]) -> list[str]:
    names = [provider_name(name) for name in given]
    if len(set(names)) < len(names):
        raise ValueError("a provider stands in it twice")
    return list(names)


def _name(given: str | None) -> str | None:
    return None if given is None else provider_name(given)


class ProviderSettings(Settings):
    """Where answers come from, and how long each may take."""

    provider: Annotated[str | None, AfterValidator(_name)] = Field(
        default=None,
        validation_alias=AliasChoices("MALOCA_PROVIDER", "LLM_PROVIDER"),
        description="The provider that is asked first: `engine` (or `hf`), `standby`, `openai`, "
        "`anthropic` (or `claude`), `extractive`.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        validation_alias=AliasChoices("MALOCA_MODEL", "LLM_MODEL", "DEFAULT_MODEL"),
        description="The model of the provider that is asked first; of the engine, its `default` "
        "answers while it does not have this one.",
    )
    chain: Annotated[CommaSeparated, AfterValidator(_names)] = Field(
        default=list(NAMES),
        min_length=1,
        description="Providers in the order in which they are asked, separated by commas; "
        "those without a key or URL are left out.",
    )
    egress: bool = Field(
        default=False,
        description="Whether conversations may be sent to clouds; each request must allow it too.",
    )
    engine_enabled: bool = Field(
        default=True,
        validation_alias=AliasChoices("MALOCA_ENGINE_ENABLED", "LLM_SERVICE_ENABLED"),
        description="`false` takes the engine out of the chain.",
    )
    standby_url: HttpUrl | None = Field(
        default=None, description="A second engine, asked when the first one fails."
    )
    standby_token: Token = Field(default=None, description="The standby's bearer token.")
    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MALOCA_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="Key of the `openai` provider. It alone sends nothing anywhere.",
    )
    openai_base_url: HttpUrl = Field(
        default=HttpUrl(OPENAI_URL),
        description="A service that speaks OpenAI's API: OpenAI, Azure, vLLM, a router. On this "
        "machine it needs no key, and counts as local.",
    )
    openai_model: str = Field(
        default="gpt-5.4-mini", min_length=1, description="Model of the `openai` provider."
    )
    openai_auth: Auth = Field(
        default="bearer", description="`api-key` sends the key in Azure's header instead."
    )
    openai_sampling: bool | None = Field(
        default=None,
        description="Send temperature, top_p and penalties; without it, to every service but "
        "OpenAI's own, whose current models refuse them.",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MALOCA_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        description="Key of the `anthropic` provider. It alone sends nothing anywhere.",
    )
    anthropic_base_url: HttpUrl = Field(
        default=HttpUrl(ANTHROPIC_URL), description="Where Anthropic's API is."
    )
    anthropic_model: str = Field(
        default="claude-haiku-4-5", min_length=1, description="Model of the `anthropic` provider."
    )
    anthropic_sampling: bool = Field(
        default=False, description="Send the temperature, which current models refuse."
    )
    connect_timeout: Seconds = Field(default=2, description="Seconds to reach a provider.")
    first_token_timeout: Seconds = Field(
        default=60,
        validation_alias=AliasChoices("MALOCA_FIRST_TOKEN_TIMEOUT", "LLM_SERVICE_TIMEOUT"),
        description="Seconds until a provider's first piece of text; then the next one is asked.",
    )
    idle_timeout: Seconds = Field(
        default=60, description="Seconds between two pieces of text before an answer is given up."
    )
    provider_attempts: int = Field(
        default=5, ge=1, le=10, description="How many providers one request may ask."
    )

    @model_validator(mode="after")
    def _no_password_in_a_url(self) -> Self:
        for setting, url in (
            ("MALOCA_OPENAI_BASE_URL", self.openai_base_url),
            ("MALOCA_ANTHROPIC_BASE_URL", self.anthropic_base_url),
            ("MALOCA_STANDBY_URL", self.standby_url),
        ):
            if url is not None and (url.username or url.password):
                raise ValueError(f"{setting} holds a password: set the key on its own")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read `config/config.json` where nothing else says anything."""
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            file_secret_settings,
            _LegacyFile(settings_cls),
        )


class _LegacyFile(PydanticBaseSettingsSource):
    """`selected_model` and `provider` of `config/config.json`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: the file is read as a whole."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return what the file says.

        Raises:
            BadSetting: It is there, and is not what it should be.
        """
        try:
            found = msgspec.json.decode(LEGACY_FILE.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadSetting(f"{LEGACY_FILE} cannot be read: {error}.") from None
        names = {"provider": "MALOCA_PROVIDER", "selected_model": "MALOCA_MODEL"}
        if not isinstance(found, dict) or not all(
            isinstance(found.get(name), str | None) for name in names
        ):
            raise BadSetting(
                f'{LEGACY_FILE} cannot be used: write {{"provider": "hf", "selected_model": "…"}}.'
            )
        return {setting: found[name] for name, setting in names.items() if found.get(name)}


def names_in_order(chain: list[str], first: str | None) -> list[ProviderName]:
    """Return the chain with one provider moved to its beginning."""
    names = [provider_name(name) for name in chain]
    if first is None:
        return names
    preferred = provider_name(first)
    return [preferred, *(name for name in names if name != preferred)]
