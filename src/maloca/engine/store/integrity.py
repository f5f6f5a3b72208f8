"""Whether what lies on disk is still what was installed."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Final

import msgspec

from maloca.core.errors import ModelFailed
from maloca.engine.store.manifest import MANIFEST, Manifest, StoredModel
from maloca.engine.store.names import safe_relative

_MAX_MANIFEST: Final = 4 * 1024 * 1024


def read_model(folder: Path) -> StoredModel:
    """Return the model that lies in a folder of the store.

    Raises:
        ModelFailed: The manifest is damaged; the message names it.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            raise ValueError(f"it is over {_MAX_MANIFEST:,} bytes")  # noqa: TRY301 - told below
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        _check_manifest(manifest, folder.name)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFailed(
            f"The manifest {path} cannot be used: {error}.",
            hint=f"Run `maloca models pull {folder.name}` to install the model again.",
        ) from error
    return StoredModel(manifest, folder)


def check_files(model: StoredModel, *, full: bool) -> None:
    """See that a model's files have their sizes, and with `full` their SHA-256.

    Raises:
        ModelFailed: Names the first file that is missing, a link, or not what it was.
    """
    inside = model.folder.resolve()
    for file in model.manifest.files:
        path = model.folder / file.path
        try:
            found = path.lstat()
        except OSError:
            raise _damaged(model, f"{path} is missing") from None
        if not stat.S_ISREG(found.st_mode) or path.resolve() != inside / file.path:
            raise _damaged(model, f"{path} is not a plain file inside the store")
        if found.st_size != file.size:
            raise _damaged(model, f"{path} has {found.st_size:,} bytes instead of {file.size:,}")
        if full and (digest := sha256_of(path)) != file.sha256:
            raise _damaged(model, f"{path} has SHA-256 {digest} instead of {file.sha256}")


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_manifest(manifest: Manifest, folder_name: str) -> None:
    """Raise ValueError when a manifest contradicts itself or names files outside its folder."""
    if manifest.name != folder_name:
        raise ValueError(f"it is of {manifest.name!r}, but lies in {folder_name!r}")
    paths = [file.path for file in manifest.files]
    if bad := [path for path in paths if not safe_relative(path)]:
        raise ValueError(f"it names the file {bad[0]!r}, outside the model's folder")
    if manifest.weights not in paths:
        raise ValueError(f"its weights {manifest.weights!r} are not among its files")
    if manifest.context_length < 1:
        raise ValueError(f"its context length is {manifest.context_length}")


def _damaged(model: StoredModel, what: str) -> ModelFailed:
    """Return the error for a model that is not whole."""
    return ModelFailed(
        f"Model {model.name!r} is damaged: {what}.",
        hint=f"Run `maloca models pull {model.name}` to fetch it again.",
    )
