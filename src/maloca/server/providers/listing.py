"""Which models this server answers with, and which of them `default` means."""

from __future__ import annotations

import msgspec

from maloca.client.engine import EngineClient
from maloca.core.completer import ModelInfo
from maloca.core.errors import MalocaError
from maloca.server.providers.base import Provider
from maloca.server.providers.engine import DEFAULT, EngineProvider


async def served_models(engine: EngineClient, first: Provider | None) -> list[ModelInfo]:
    """Return the engine's models, and the first provider's own if that is not the engine.

    Raises:
        MalocaError: The engine is asked first, and cannot be reached.
    """
    if isinstance(first, EngineProvider):
        models = await engine.models()
        meant = first.model
        return models if meant == DEFAULT else [_with_default(m, meant) for m in models]
    try:
        models = [_with_default(model, None) for model in await engine.models()]
    except MalocaError:
        models = []
    return models if first is None else [*models, _info(first)]


def _with_default(model: ModelInfo, meant: str | None) -> ModelInfo:
    """Return a model with the alias `default` if it is the one that is meant, else without."""
    aliases = {alias for alias in model.aliases if alias != DEFAULT}
    if meant is not None and (meant == model.name or meant in model.aliases):
        aliases.add(DEFAULT)
    return msgspec.structs.replace(model, aliases=sorted(aliases))


def _info(provider: Provider) -> ModelInfo:
    """Describe the model of a provider that tells nothing about it."""
    return ModelInfo(
        name=provider.model,
        kind="chat",
        state="ready",
        context_length=0,
        aliases=[DEFAULT],
        created=0,
        runtime=provider.name,
    )
