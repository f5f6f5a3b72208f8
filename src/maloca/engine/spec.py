"""From a stored model and the engine's settings to what its worker is told."""

from __future__ import annotations

from typing import Any

from maloca.engine.settings import EngineSettings
from maloca.engine.store.manifest import Manifest, StoredModel
from maloca.engine.workers.frames import ModelSpec


def model_spec(model: StoredModel, settings: EngineSettings) -> ModelSpec:
    """Return what a worker needs to load the model; the manifest's own options win."""
    manifest = model.manifest
    return ModelSpec(
        name=manifest.name,
        kind=manifest.kind,
        runtime=manifest.runtime,
        folder=str(model.folder),
        weights=str(model.weights),
        context_length=manifest.context_length,
        stop_token_ids=manifest.stop_token_ids,
        cache_dir=str(model.cache_dir),
        options=_options(manifest, settings) | manifest.options,
    )


def _options(manifest: Manifest, settings: EngineSettings) -> dict[str, Any]:
    threads = {"threads": settings.threads} if settings.threads else {}
    if manifest.runtime == "fake":
        return {}
    if manifest.kind == "embedding":
        return threads | {"pooling": manifest.pooling, "normalize": manifest.normalize}
    return threads | {
        "kv_cache_mb": settings.kv_cache_mb,
        "max_running": settings.max_running,
        "prefill_chunk": settings.prefill_chunk,
        "prefix_cache": settings.prefix_cache,
    }
