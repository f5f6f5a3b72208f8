"""Providers made from settings; one that lacks its key or URL is not made."""

from __future__ import annotations

import httpx

from maloca.client.engine import EngineClient
from maloca.server.providers.anthropic import AnthropicProvider
from maloca.server.providers.base import Provider, ProviderName
from maloca.server.providers.engine import EngineProvider, StandbyProvider
from maloca.server.providers.extractive import ExtractiveProvider
from maloca.server.providers.openai import OPENAI_URL, OpenAIProvider
from maloca.server.providers.passages import PassageSource
from maloca.server.providers.settings import ProviderSettings


def new_provider(
    name: ProviderName,
    settings: ProviderSettings,
    *,
    engine: EngineClient,
    passages: PassageSource,
    timeout: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Provider | None:
    """Return a provider, or None if the settings do not bring what it needs.

    Args:
        name: Which one.
        settings: Its keys, URLs and models.
        engine: The engine's client, which its maker closes.
        passages: What the extractive provider quotes.
        timeout: Seconds that an answer of the standby may take in all.
        transport: Another way to reach clouds and standby, for tests.
    """
    match name:
        case "engine":
            return EngineProvider(engine) if settings.engine_enabled else None
        case "standby":
            return _standby(settings, timeout, transport)
        case "openai":
            return _openai(settings, transport)
        case "anthropic":
            return _anthropic(settings, transport)
        case "extractive":
            return ExtractiveProvider(passages)


def _standby(
    settings: ProviderSettings, timeout: float, transport: httpx.AsyncBaseTransport | None
) -> StandbyProvider | None:
    if settings.standby_url is None:
        return None
    token = settings.standby_token
    client = EngineClient(
        str(settings.standby_url),
        token=token.get_secret_value() if token else None,
        timeout=timeout,
        connect_timeout=settings.connect_timeout,
        transport=transport,
    )
    return StandbyProvider(client)


def _openai(
    settings: ProviderSettings, transport: httpx.AsyncBaseTransport | None
) -> OpenAIProvider | None:
    """Return the provider; OpenAI itself needs a key, a service of the owner's own may not."""
    key, url = settings.openai_api_key, str(settings.openai_base_url)
    if key is None and url == OPENAI_URL:
        return None
    return OpenAIProvider(
        key=key,
        model=settings.openai_model,
        base_url=url,
        auth=settings.openai_auth,
        sampling=settings.openai_sampling,
        connect_timeout=settings.connect_timeout,
        transport=transport,
    )


def _anthropic(
    settings: ProviderSettings, transport: httpx.AsyncBaseTransport | None
) -> AnthropicProvider | None:
    if settings.anthropic_api_key is None:
        return None
    return AnthropicProvider(
        key=settings.anthropic_api_key,
        model=settings.anthropic_model,
        base_url=str(settings.anthropic_base_url),
        sampling=settings.anthropic_sampling,
        connect_timeout=settings.connect_timeout,
        transport=transport,
    )
