"""From vectors of tokens to one vector per text, inside an OpenVINO graph.

Source: Reimers and Gurevych 2019, arXiv:1908.10084 (Sentence-BERT), section 3.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import openvino as ov
from openvino import opset13 as op

from maloca.engine.runtimes.base import ModelLoadError

Pooling = Literal["mean", "cls"]

_IDS: Final = "input_ids"
_MASK: Final = "attention_mask"
_TYPES: Final = "token_type_ids"
_TOKEN_OUTPUTS: Final = ("last_hidden_state", "token_embeddings")
_TEXT_OUTPUTS: Final = ("sentence_embedding", "text_embeds")
_SMALLEST_NORM: Final = 1e-12


def sentence_model(encoder: ov.Model, pooling: Pooling, *, normalize: bool) -> ov.Model:
    """Return a model from `input_ids` and `attention_mask` to one vector per text.

    Both inputs are integers of shape (texts, tokens); the output has the shape (texts, dim).
    A model that pools by itself keeps its own pooling. The encoder's nodes are taken over.

    Raises:
        ModelLoadError: The encoder's inputs or outputs are not those of a text encoder.
    """
    inputs = {_input_name(port): port for port in encoder.inputs}
    if not {_IDS, _MASK} <= inputs.keys() <= {_IDS, _MASK, _TYPES}:
        raise ModelLoadError(
            f"the model's inputs are {', '.join(sorted(inputs))}; "
            f"a text encoder has {_IDS} and {_MASK}, and may have {_TYPES}."
        )
    encoder.reshape({port: ov.PartialShape([-1, -1]) for port in encoder.inputs})
    if _TYPES in inputs:
        _fix_token_types(inputs[_TYPES], inputs[_IDS])
    vectors = _text_vectors(encoder, inputs[_MASK], pooling)
    if normalize:
        # As torch.nn.functional.normalize has it: a zero vector stays one.
        norm = op.reduce_l2(vectors, _ints([-1]), keep_dims=True)
        vectors = op.divide(vectors, op.maximum(norm, op.constant(np.float32(_SMALLEST_NORM))))
    parameters = [inputs[name].get_node() for name in (_IDS, _MASK)]
    return ov.Model([vectors.output(0)], parameters, "sentence")


def _text_vectors(encoder: ov.Model, mask: Any, pooling: Pooling) -> Any:
    tokens = _output(encoder, _TOKEN_OUTPUTS, rank=3)
    if tokens is None:
        texts = _output(encoder, _TEXT_OUTPUTS, rank=2)
        if texts is None:
            names = ", ".join(str(port.get_partial_shape()) for port in encoder.outputs)
            raise ModelLoadError(
                f"the model's outputs have the shapes {names}; "
                "one of (texts, tokens, dim) or (texts, dim) is needed."
            )
        return op.convert(texts, np.float32)
    tokens = op.convert(tokens, np.float32)
    if pooling == "cls":
        return op.gather(tokens, _ints(0), _ints(1))
    weights = op.convert(op.unsqueeze(mask, _ints([-1])), np.float32)
    total = op.reduce_sum(op.multiply(tokens, weights), _ints([1]))
    return op.divide(total, op.reduce_sum(weights, _ints([1])))


def _output(encoder: ov.Model, names: tuple[str, ...], rank: int) -> Any:
    """Return what feeds the named output of that rank, else the first one of it, else None."""
    of_rank = [port for port in encoder.outputs if port.get_partial_shape().rank == rank]
    of_rank.sort(key=lambda port: not port.get_names() & set(names))
    return of_rank[0].get_node().input_value(0) if of_rank else None


def _fix_token_types(types: Any, ids: Any) -> None:
    """Feed zeros of the ids' shape in place of an input: a text that stands alone is type 0."""
    element = types.get_element_type()
    zeros = op.broadcast(op.constant(0, element), op.shape_of(ids.get_node()))
    for target in types.get_target_inputs():
        target.replace_source_output(zeros.output(0))


def _input_name(port: Any) -> str:
    names = port.get_names()
    return str(next(iter(names & {_IDS, _MASK, _TYPES}), None) or port.get_node().friendly_name)


def _ints(values: int | list[int]) -> Any:
    return op.constant(np.array(values, np.int64))
