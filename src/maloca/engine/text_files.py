"""The text files of a stored model: what is damaged is named, with the way out."""

from __future__ import annotations

from pathlib import Path

from maloca.core.errors import ModelFailed
from maloca.engine.store.manifest import StoredModel
from maloca.text.tokenizer import Tokenizer


def read_tokenizer(model: StoredModel) -> Tokenizer:
    """Return a model's tokenizer.

    Raises:
        ModelFailed: The file is missing or damaged.
    """
    try:
        return Tokenizer.from_file(model.tokenizer)
    except (OSError, ValueError) as error:
        raise unreadable(model, model.tokenizer, error) from error


def unreadable(model: StoredModel, path: Path, error: Exception) -> ModelFailed:
    """Return the error for a file that cannot be read."""
    return ModelFailed(
        f"{path} cannot be read: {error}.",
        hint=f"Fetch it again: maloca models rm {model.name} --force, "
        f"then maloca models pull {model.name}.",
    )
