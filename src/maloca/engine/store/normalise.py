"""Bringing a model's files into the one form that the rest of the engine knows.

Whatever the source, a model's folder holds the weights, `tokenizer.json`, the chat template and a
manifest; the facts for the manifest come from the files themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from maloca.core.errors import ModelFailed
from maloca.engine.store.gguf_header import GgufHeader, read_gguf_header
from maloca.engine.store.gguf_tokenizer import build_tokenizer
from maloca.engine.store.gguf_types import FILE_TYPES
from maloca.engine.store.manifest import CHAT_TEMPLATE, TOKENIZER
from maloca.engine.store.names import safe_relative
from maloca.engine.store.safetensors_header import read_safetensors_header

_FLOATS: Final = frozenset({"F16", "BF16", "F32", "F64"})

T = TypeVar("T")
Positive = Annotated[int, msgspec.Meta(ge=1)]


class _Config(msgspec.Struct):
    """What is read of `config.json`."""

    model_type: str
    hidden_size: Positive
    max_position_embeddings: Positive


class _Limits(msgspec.Struct):
    """What is read of `sentence_bert_config.json`; the length is in tokens."""

    max_seq_length: Positive


class _Module(msgspec.Struct):
    """A stage of the pipeline in `modules.json`."""

    type: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a model's files say of it; the fields are those of `Manifest`."""

    context_length: int
    architecture: str
    quantisation: str
    parameters: int
    licence: str | None = None
    bos_token_id: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    dim: int = 0
    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = True


def normalise_gguf(folder: Path, weights: str) -> Facts:
    """Write the tokenizer and the chat template that a GGUF file carries beside it.

    Raises:
        ModelFailed: The file is damaged, or its tokenizer is of a kind that is not supported.
    """
    header = read_gguf_header(folder / weights)
    tokenizer = build_tokenizer(header)
    (folder / TOKENIZER).write_bytes(tokenizer.json.encode())
    if "tokenizer.chat_template" in header.metadata:
        template = header.text("tokenizer.chat_template")
        (folder / CHAT_TEMPLATE).write_bytes(template.encode())
    architecture = header.text("general.architecture")
    context_length = header.integer(f"{architecture}.context_length")
    if context_length < 1:
        raise ModelFailed(f"{header.path} declares a context of {context_length} tokens.")
    return Facts(
        context_length=context_length,
        architecture=architecture,
        quantisation=_quantisation(header),
        parameters=sum(tensor.elements for tensor in header.tensors),
        licence=header.text("general.license", "") or None,
        bos_token_id=tokenizer.bos_token_id,
        stop_token_ids=tuple(tokenizer.stop_token_ids),
    )


def normalise_sentence_transformer(folder: Path, weights: str) -> Facts:
    """Take truncation and padding out of the tokenizer, and read how vectors are made.

    The tokenizer's own truncation is a setting of its publisher's training run; what the model
    was evaluated with is `max_seq_length`, which becomes the context length: longer texts are
    refused by the engine instead of being cut in silence.

    Raises:
        ModelFailed: A file is damaged, or the model has parts that are not supported.
    """
    tensors = read_safetensors_header(folder / weights).values()
    config = _read(folder / "config.json", _Config)
    limits = _read(folder / "sentence_bert_config.json", _Limits)
    modules = _read(folder / "modules.json", list[_Module])
    kinds = [module.type.rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelFailed(
            f"{folder / 'modules.json'} asks for {', '.join(kinds) or 'nothing'}; supported is "
            "Transformer, Pooling and perhaps Normalize."
        )
    if not safe_relative(modules[1].path):
        raise ModelFailed(f"{folder / 'modules.json'} names the folder {modules[1].path!r}.")
    _clean_tokenizer(folder / TOKENIZER)
    return Facts(
        context_length=min(limits.max_seq_length, config.max_position_embeddings),
        architecture=config.model_type,
        quantisation=_commonest((tensor.dtype, tensor.elements) for tensor in tensors),
        parameters=sum(tensor.elements for tensor in tensors if tensor.dtype in _FLOATS),
        dim=config.hidden_size,
        pooling=_pooling(folder / modules[1].path / "config.json"),
        normalize="Normalize" in kinds,
    )


def _quantisation(header: GgufHeader) -> str:
    """Return the file's own name for its quantisation, else the type of most of its weights."""
    declared = FILE_TYPES.get(header.integer("general.file_type", -1))
    types = ((tensor.type.name, tensor.elements) for tensor in header.tensors)
    return declared or _commonest(types)


def _commonest(types: Iterable[tuple[str, int]]) -> str:
    """Return the type that most numbers are kept in."""
    by_type: Counter[str] = Counter()
    for name, elements in types:
        by_type[name] += elements
    return by_type.most_common(1)[0][0] if by_type else ""


def _clean_tokenizer(path: Path) -> None:
    """Remove truncation and padding, which are the caller's business."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - 50 ms that only a pull should pay.

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # The library raises plain Exception for a file it cannot read.
        raise ModelFailed(f"{path} is not a tokenizer: {error}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    path.write_bytes(tokenizer.to_str().encode())


def _pooling(path: Path) -> Literal["mean", "cls"]:
    """Return how token vectors become one; exactly one way must be named."""
    config = _read(path, dict[str, Any])
    asked = {key for key, value in config.items() if key.startswith("pooling_mode") and value}
    if asked == {"pooling_mode_mean_tokens"} or config.get("pooling_mode") == "mean":
        return "mean"
    if asked == {"pooling_mode_cls_token"} or config.get("pooling_mode") == "cls":
        return "cls"
    raise ModelFailed(
        f"{path} asks for {', '.join(sorted(asked)) or 'no pooling'}; supported are mean and cls."
    )


def _read(path: Path, form: type[T]) -> T:
    """Return a small JSON document of that form."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFailed(f"{path} cannot be used: {error}.") from error
