"""A BERT-family encoder, built from its weights with OpenVINO's own operators.

Sources: Devlin et al. 2019, arXiv:1810.04805 (BERT); Liu et al. 2019, arXiv:1907.11692
(RoBERTa, whose positions begin after the padding token's id).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as op

from maloca.engine.runtimes.base import ModelLoadError
from maloca.engine.runtimes.bert_config import BertConfig
from maloca.engine.runtimes.safetensors_weights import Floats, SafetensorsWeights

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
HIDDEN_STATE: Final = "last_hidden_state"

_WORD_TABLE: Final = "embeddings.word_embeddings.weight"
_PREFIXES: Final = ("", "bert.", "roberta.")

Node = Any
"""OpenVINO's bindings are untyped: a node or one of its outputs."""


def build_bert(config: BertConfig, weights: SafetensorsWeights) -> ov.Model:
    """Return the encoder.

    Its inputs are `input_ids` and `attention_mask`, both int64 of shape (texts, tokens), texts
    padded on the right; its output is `last_hidden_state`, float32 of shape (texts, tokens,
    hidden_size). Every token is of type 0, as in every text that stands alone.

    Raises:
        ModelLoadError: A tensor is missing or does not have the shape that the config says.
    """
    return _BertBuilder(config, weights).build()


class _BertBuilder:
    """Adds the encoder's parts to a graph, reading each tensor once."""

    def __init__(self, config: BertConfig, weights: SafetensorsWeights) -> None:
        self._config = config
        self._weights = weights
        self._prefix = _find_prefix(weights)

    def build(self) -> ov.Model:
        ids = op.parameter([-1, -1], np.int64, name=INPUT_IDS)
        mask = op.parameter([-1, -1], np.int64, name=ATTENTION_MASK)
        hidden = self._embeddings(ids)
        # True where a token may be looked at; the same for every head and every asking token.
        visible = op.unsqueeze(op.not_equal(mask, _ints(0)), _ints([1, 2]))
        for layer in range(self._config.num_hidden_layers):
            hidden = self._layer(hidden, visible, f"encoder.layer.{layer}.")
        model = ov.Model([hidden.output(0)], [ids, mask], "bert")
        for port, name in zip(model.inputs, (INPUT_IDS, ATTENTION_MASK), strict=True):
            port.get_tensor().set_names({name})
        model.output(0).get_tensor().set_names({HIDDEN_STATE})
        return model

    def _embeddings(self, ids: Node) -> Node:
        config = self._config
        words = self._read(_WORD_TABLE, config.vocab_size)
        types = self._read("embeddings.token_type_embeddings.weight", config.type_vocab_size)
        positions = self._read(
            "embeddings.position_embeddings.weight", config.max_position_embeddings
        )
        table = positions[config.position_offset :] + types[0]
        length = op.gather(op.shape_of(ids), _ints([1]), _ints(0))
        places = op.slice(op.constant(table), _ints([0]), length, _ints([1]), _ints([0]))
        total = op.add(op.gather(op.constant(words), ids, _ints(0)), places)
        return self._layer_norm(total, "embeddings.LayerNorm")

    def _layer(self, hidden: Node, visible: Node, at: str) -> Node:
        width, inner = self._config.hidden_size, self._config.intermediate_size
        attended = self._attention(hidden, visible, f"{at}attention.self.")
        attended = self._dense(attended, f"{at}attention.output.dense", width, width)
        hidden = self._layer_norm(op.add(attended, hidden), f"{at}attention.output.LayerNorm")
        wide = self._activation(self._dense(hidden, f"{at}intermediate.dense", inner, width))
        narrow = self._dense(wide, f"{at}output.dense", width, inner)
        return self._layer_norm(op.add(narrow, hidden), f"{at}output.LayerNorm")

    def _attention(self, hidden: Node, visible: Node, at: str) -> Node:
        config = self._config
        width = config.hidden_size
        # One product for queries, keys and values keeps the processor busier than three.
        parts = ("query", "key", "value")
        matrix = np.concatenate([self._read(f"{at}{part}.weight", width) for part in parts])
        bias = np.concatenate([self._read_vector(f"{at}{part}.bias") for part in parts])
        product = op.matmul(hidden, op.constant(matrix), transpose_a=False, transpose_b=True)
        joined = op.add(product, op.constant(bias))
        by_head = _ints([0, 0, config.num_attention_heads, config.head_size])
        swap = _ints([0, 2, 1, 3])
        queries, keys, values = (
            op.transpose(op.reshape(part, by_head, special_zero=True), swap)
            for part in op.split(joined, _ints(2), len(parts)).outputs()
        )
        attended = op.scaled_dot_product_attention(queries, keys, values, visible)
        return op.reshape(op.transpose(attended, swap), _ints([0, 0, width]), special_zero=True)

    def _dense(self, x: Node, name: str, outputs: int, inputs: int) -> Node:
        matrix = op.constant(self._read(f"{name}.weight", outputs, inputs))
        bias = op.constant(self._read_vector(f"{name}.bias", outputs))
        product = op.matmul(x, matrix, transpose_a=False, transpose_b=True)
        return op.add(product, bias)

    def _layer_norm(self, x: Node, name: str) -> Node:
        normal = op.mvn(
            x,
            _ints([-1]),
            normalize_variance=True,
            eps=self._config.layer_norm_eps,
            eps_mode="inside_sqrt",
        )
        scale = op.constant(self._read_vector(f"{name}.weight"))
        shift = op.constant(self._read_vector(f"{name}.bias"))
        return op.add(op.multiply(normal, scale), shift)

    def _activation(self, x: Node) -> Node:
        match self._config.hidden_act:
            case "relu":
                return op.relu(x)
            case "gelu":
                return op.gelu(x, "erf")
            case _:
                return op.gelu(x, "tanh")

    def _read(self, name: str, rows: int, columns: int | None = None) -> Floats:
        shape = (rows, columns or self._config.hidden_size)
        return self._weights.tensor(self._prefix + name, shape)

    def _read_vector(self, name: str, length: int | None = None) -> Floats:
        return self._weights.tensor(self._prefix + name, (length or self._config.hidden_size,))


def _find_prefix(weights: SafetensorsWeights) -> str:
    """Return what stands before the names: a bare encoder has none, a model with a head does."""
    for prefix in _PREFIXES:
        if prefix + _WORD_TABLE in weights:
            return prefix
    raise ModelLoadError(
        f"{weights.path} holds no {_WORD_TABLE!r}, "
        f"nor that name after {' or '.join(repr(prefix) for prefix in _PREFIXES if prefix)}."
    )


def _ints(values: int | list[int]) -> Node:
    array: npt.NDArray[np.int64] = np.array(values, np.int64)
    return op.constant(array)
