"""Settings of accounts; the server's settings include them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, model_validator

from maloca.core.settings import CommaSeparated, Settings
from maloca.server.accounts.address import Networks
from maloca.server.accounts.signing_key import MIN_LENGTH

Registration = Literal["open", "invite", "closed"]

_SOON: Final = 24 * 60


def _long_enough(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and len(secret.get_secret_value()) < MIN_LENGTH:
        raise ValueError(f"a secret needs at least {MIN_LENGTH} characters")
    return secret


class AccountSettings(Settings):
    """Who may come in, and how long for."""

    environment: Literal["development", "production"] = Field(
        default="development",
        validation_alias=AliasChoices("MALOCA_ENVIRONMENT", "ENVIRONMENT"),
        description="`production` refuses settings that are only safe on one's own machine.",
    )
    secret_key: Annotated[SecretStr | None, AfterValidator(_long_enough)] = Field(
        default=None,
        validation_alias=AliasChoices("MALOCA_SECRET_KEY", "SECRET_KEY"),
        description="Signs access tokens, alike on every replica; without it, one is generated "
        "under the home. Needed in production.",
    )
    registration: Registration | None = Field(
        default=None,
        description="Who may register: `open` (everybody; so in development), `invite`, or "
        "`closed` (so in production).",
    )
    cookie_secure: bool | None = Field(
        default=None,
        description="Mark cookies Secure; without it, where the request came over HTTPS, and "
        "always in production.",
    )
    cors_origins: CommaSeparated = Field(
        default=[],
        validation_alias=AliasChoices("MALOCA_CORS_ORIGINS", "CORS_ORIGINS"),
        description="Origins of other sites whose pages may use the API, separated by commas.",
    )
    trusted_proxies: Networks = Field(
        default=[],
        description="Addresses or networks of proxies whose X-Forwarded-For is believed.",
    )
    access_token_minutes: float = Field(
        default=15, gt=0, le=_SOON, description="How long an access token lasts."
    )
    session_days: float = Field(
        default=30, gt=0, le=366, description="How long a session lasts that is not used."
    )
    audit_days: float = Field(default=365, ge=1, description="How long security events are kept.")

    @property
    def who_may_register(self) -> Registration:
        """Who may register, with the default of the environment."""
        by_default: Registration = "closed" if self.is_production else "open"
        return self.registration or by_default

    @property
    def is_production(self) -> bool:
        """Whether strangers can reach this server."""
        return self.environment == "production"

    @property
    def secure_cookies(self) -> bool | None:
        """Whether cookies are marked Secure; None: where the request came over HTTPS."""
        return True if self.is_production else self.cookie_secure

    @model_validator(mode="after")
    def _safe_in_production(self) -> Self:
        if not self.is_production:
            return self
        wrong = []
        if self.secret_key is None:
            wrong.append(
                f"MALOCA_SECRET_KEY is missing: set at least {MIN_LENGTH} random characters, the "
                "same for every replica"
            )
        if "*" in self.cors_origins:
            wrong.append("MALOCA_CORS_ORIGINS='*' lets every site in: name the origins")
        if "*" in self.allowed_hosts:
            wrong.append("MALOCA_ALLOWED_HOSTS='*' is no host name: name the hosts")
        if self.cookie_secure is False:
            wrong.append("MALOCA_COOKIE_SECURE=false sends cookies in the clear: remove it")
        if wrong:
            raise ValueError("MALOCA_ENVIRONMENT=production cannot start: " + "; ".join(wrong))
        return self
