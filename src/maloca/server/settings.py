"""Settings of the server, read from MALOCA_* variables."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, AliasChoices, Field, HttpUrl, SecretStr
from sqlalchemy.engine import URL

from maloca.core.home import home
from maloca.core.settings import Port, Seconds, Token
from maloca.server.accounts.settings import AccountSettings
from maloca.server.db.database import SQLITE_DRIVER, database_url
from maloca.server.inference.settings import InferenceSettings
from maloca.server.jobs.settings import JobSettings
from maloca.server.providers.settings import ProviderSettings


def _known_database(given: SecretStr | None) -> SecretStr | None:
    if given is not None:
        database_url(given.get_secret_value())
    return given


class ServerSettings(AccountSettings, JobSettings, InferenceSettings, ProviderSettings):
    """Everything about the server that its owner may choose."""

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on; beyond loopback only once there is an owner.",
    )
    port: Port = 8000
    engine_url: HttpUrl = Field(
        default=HttpUrl("http://127.0.0.1:8001"),
        validation_alias=AliasChoices("MALOCA_ENGINE_URL", "LLM_SERVICE_URL"),
        description="Where the engine listens.",
    )
    engine_token: Token = Field(default=None, description="The engine's bearer token.")
    request_timeout: Seconds = Field(
        default=600, description="Seconds that an answer may take in all."
    )
    database_url: Annotated[SecretStr | None, AfterValidator(_known_database)] = Field(
        default=None,
        description="`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`; without it, "
        "the SQLite file `maloca.db` under the home.",
    )

    @property
    def database(self) -> URL:
        """Where the data is, with the driver that Maloca uses."""
        if self.database_url is None:
            return URL.create(SQLITE_DRIVER, database=str(home() / "maloca.db"))
        return database_url(self.database_url.get_secret_value())
