"""What a BERT-family encoder's config.json must say for its graph to be built here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from maloca.engine.runtimes.base import ModelLoadError

CONFIG: Final = "config.json"

# RoBERTa and its kin leave positions 0 to the padding token's id unused.
_OFFSET_POSITIONS: Final = ("camembert", "roberta", "xlm-roberta")
_ARCHITECTURES: Final = ("bert", *_OFFSET_POSITIONS)
ACTIVATIONS: Final = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")

_Size = Annotated[int, Meta(ge=1, le=1_000_000)]


class BertConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of an encoder, in the names of Hugging Face's configs.

    Attributes:
        hidden_size: Length of a token's vector.
        intermediate_size: Width of the feed-forward layer.
        max_position_embeddings: Rows of the position table.
    """

    model_type: str
    vocab_size: _Size
    hidden_size: _Size
    num_hidden_layers: _Size
    num_attention_heads: _Size
    intermediate_size: _Size
    max_position_embeddings: _Size
    hidden_act: str = "gelu"
    layer_norm_eps: Annotated[float, Meta(gt=0, lt=1)] = 1e-12
    type_vocab_size: _Size = 2
    position_embedding_type: str = "absolute"
    pad_token_id: Annotated[int, Meta(ge=0)] = 0
    is_decoder: bool = False

    @classmethod
    def read(cls, path: Path) -> BertConfig:
        """Return a config that `bert_graph` can build.

        Raises:
            ModelLoadError: The file is missing or damaged, or asks for what is not built here.
        """
        try:
            config = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ModelLoadError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, RecursionError) as error:
            raise ModelLoadError(f"{path} does not describe a BERT encoder: {error}.") from error
        _one_of(path, "model_type", config.model_type, _ARCHITECTURES)
        _one_of(path, "hidden_act", config.hidden_act, ACTIVATIONS)
        _one_of(path, "position_embedding_type", config.position_embedding_type, ("absolute",))
        if config.is_decoder:
            raise ModelLoadError(f"{path}: is_decoder is true; only encoders are built here.")
        if config.hidden_size % config.num_attention_heads:
            raise ModelLoadError(
                f"{path}: hidden_size {config.hidden_size} cannot be shared among "
                f"{config.num_attention_heads} attention heads."
            )
        if config.positions < 1:
            raise ModelLoadError(
                f"{path}: pad_token_id {config.pad_token_id} leaves none of "
                f"{config.max_position_embeddings} positions."
            )
        return config

    @property
    def head_size(self) -> int:
        """Length of a vector within one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def position_offset(self) -> int:
        """The position of a text's first token."""
        return self.pad_token_id + 1 if self.model_type in _OFFSET_POSITIONS else 0

    @property
    def positions(self) -> int:
        """Tokens of the longest text."""
        return self.max_position_embeddings - self.position_offset


def _one_of(path: Path, name: str, value: str, supported: tuple[str, ...]) -> None:
    if value not in supported:
        raise ModelLoadError(
            f"{path}: {name} {value[:80]!r} is not supported; supported: {', '.join(supported)}."
        )
