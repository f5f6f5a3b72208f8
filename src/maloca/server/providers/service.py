"""Rules of choosing providers and models while the server runs."""

from __future__ import annotations

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from maloca.core.errors import Forbidden, InvalidRequest, MalocaError, ModelNotFound
from maloca.server.accounts.principal import Principal
from maloca.server.db.base import now
from maloca.server.providers import repository
from maloca.server.providers.base import ProviderName
from maloca.server.providers.chain import Link
from maloca.server.providers.engine import EngineProvider
from maloca.server.providers.house import Providers
from maloca.server.providers.models import ProviderConfig
from maloca.server.providers.schemas import ModelUpdate, ProvidersUpdate
from maloca.server.providers.settings import names_in_order

log = structlog.get_logger(__name__)


class ConfigChanged(MalocaError):
    """Somebody else has changed the providers in the meantime."""

    status = 409
    code = "config_changed"
    type = "invalid_request_error"


async def check_selection(providers: Providers, update: ModelUpdate) -> ProviderName:
    """Return the provider that a model is selected for; outside of any transaction.

    Raises:
        InvalidRequest: The provider lacks its key or URL.
        Forbidden: It is a cloud, and egress is off.
        ModelNotFound: The engine does not have the model.
        MalocaError: The engine cannot be asked.
    """
    provider = _usable(providers, update.provider or providers.choice.chain[0]).provider
    if isinstance(provider, EngineProvider) and not await provider.has(update.model_name):
        raise ModelNotFound(
            f"The engine has no chat model {update.model_name[:100]!r}.",
            param="model_name",
            hint="maloca models list shows those it has; maloca models pull brings others.",
        )
    return provider.name


async def select_model(
    session: AsyncSession,
    providers: Providers,
    name: ProviderName,
    update: ModelUpdate,
    *,
    by: Principal,
) -> None:
    """Select a model for a provider; a provider that the update names is asked first."""
    config = await repository.lock_config(session)
    if update.provider is not None:
        config.chain = list(names_in_order(config.chain or [*providers.choice.chain], name))
    config.models = config.models | {name: update.model_name}
    _sign(config, by)
    log.info("model_selected", model=update.model_name, provider=name, by=by.username)


async def change(session: AsyncSession, update: ProvidersUpdate, *, by: Principal) -> None:
    """Change the chain, models or egress.

    Raises:
        Forbidden: Somebody but the owner turns egress on.
        ConfigChanged: `update.version` is not the one in force.
    """
    if update.egress and by.role != "owner":
        raise Forbidden(
            "Only the owner may let conversations leave the house.",
            code="owner_only",
            hint="Sign in as the owner.",
        )
    config = await repository.lock_config(session)
    if update.version is not None and update.version != config.version:
        raise ConfigChanged(
            f"The providers are at version {config.version}, not {update.version}.",
            param="version",
            hint="Read them again, and send your change with the new version.",
        )
    if update.chain is not None:
        config.chain = list(update.chain)
    if update.models is not None:
        config.models = config.models | update.models
    if update.egress is not None:
        config.egress = update.egress
    _sign(config, by)
    log.info("providers_configured", by=by.username, egress=config.egress)


def _usable(providers: Providers, name: ProviderName) -> Link:
    link = providers.link(name)
    if link is None:
        raise InvalidRequest(
            f"The provider {name!r} lacks its key or URL.",
            param="provider",
            hint=f"Set {_NEEDS[name]}, and start the server again.",
        )
    if not link.provider.local and not providers.choice.egress:
        raise Forbidden(
            f"{name} is a cloud, and conversations may not leave the house.",
            code="egress_off",
            hint="The owner can change that: PUT /admin/api/providers with egress=true.",
        )
    return link


def _sign(config: ProviderConfig, by: Principal) -> None:
    config.version += 1
    config.updated_at = now()
    config.updated_by = by.username


_NEEDS: dict[ProviderName, str] = {
    "engine": "MALOCA_ENGINE_ENABLED=true",
    "standby": "MALOCA_STANDBY_URL",
    "openai": "MALOCA_OPENAI_API_KEY",
    "anthropic": "MALOCA_ANTHROPIC_API_KEY",
    "extractive": "nothing",
}
