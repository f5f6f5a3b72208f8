"""The runtimes that exist, by name and kind."""

from __future__ import annotations

import importlib
from typing import Final

from maloca.engine.runtimes.base import BaseRuntime, ModelLoadError
from maloca.engine.workers.frames import ModelSpec

_CLASSES: Final = {
    ("openvino", "chat"): "maloca.engine.runtimes.openvino_chat:OpenVinoChat",
    ("openvino", "embedding"): "maloca.engine.runtimes.openvino_embedding:OpenVinoEmbedding",
    ("fake", "chat"): "maloca.engine.runtimes.fake:FakeChat",
    ("fake", "embedding"): "maloca.engine.runtimes.fake:FakeEmbedding",
}


def load(spec: ModelSpec) -> BaseRuntime:
    """Load a model in the runtime that its manifest names.

    Raises:
        ModelLoadError: No such runtime, or the runtime refuses the model.
    """
    try:
        module, name = _CLASSES[spec.runtime, spec.kind].split(":")
    except KeyError:
        known = ", ".join(f"{runtime} ({kind})" for runtime, kind in sorted(_CLASSES))
        raise ModelLoadError(
            f"no runtime {spec.runtime!r} for {spec.kind} models; there are: {known}"
        ) from None
    runtime: type[BaseRuntime] = getattr(importlib.import_module(module), name)
    return runtime(spec)
