"""Graphs as models ship them, with an encoder that only looks tokens up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as op

INPUTS = ("input_ids", "attention_mask", "token_type_ids")

TABLE: npt.NDArray[np.float32] = np.arange(1, 101, dtype=np.float32).reshape(50, 2) ** 2
"""The vectors of the 50 tokens."""


def lookup_model(
    *,
    inputs: Sequence[str] = INPUTS,
    shape: Sequence[int] = (-1, -1),
    outputs: Sequence[str] = ("last_hidden_state",),
) -> ov.Model:
    """Return an encoder that adds 1,000 times a token's type to its vector.

    Outputs are "last_hidden_state" of shape (texts, tokens, 2), "sentence_embedding", which is
    its maximum over the tokens, and "scores" of shape (texts,).
    """
    ports = {name: op.parameter(list(shape), np.int64, name=name) for name in inputs}
    first = next(iter(ports.values()))
    hidden = op.gather(op.constant(TABLE), first, op.constant(np.int64(0)))
    if "token_type_ids" in ports:
        types = op.unsqueeze(ports["token_type_ids"], op.constant(np.int64(2)))
        hidden = op.add(
            hidden, op.multiply(op.convert(types, np.float32), op.constant(np.float32(1000)))
        )
    makers = {
        "last_hidden_state": lambda: hidden,
        "sentence_embedding": lambda: op.reduce_max(hidden, op.constant(np.int64(1))),
        "scores": lambda: op.reduce_max(hidden, op.constant(np.array([1, 2]))),
    }
    results = [makers[name]().output(0) for name in outputs]
    model = ov.Model(results, list(ports.values()), "lookup")
    for port, name in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({name})
    return model


def onnx_lookup() -> bytes:
    """Return the same encoder without token types as an ONNX file, field by field.

    Source: onnx/onnx.proto of the ONNX project, IR version 8.
    """
    gather = _text(1, "table") + _text(1, "input_ids") + _text(2, "last_hidden_state")
    table = _number(1, 50) + _number(1, 2) + _number(2, 1) + _text(8, "table")
    graph = (
        _message(1, gather + _text(4, "Gather"))
        + _text(2, "lookup")
        + _message(5, table + _message(9, TABLE.astype("<f4").tobytes()))
        + _message(11, _value("input_ids", 7, ["texts", "tokens"]))
        + _message(11, _value("attention_mask", 7, ["texts", "tokens"]))
        + _message(12, _value("last_hidden_state", 1, ["texts", "tokens", "dim"]))
    )
    return _number(1, 8) + _message(7, graph) + _message(8, _text(1, "") + _number(2, 17))


def _value(name: str, element: int, dimensions: list[str]) -> bytes:
    shape = b"".join(_message(1, _text(2, dimension)) for dimension in dimensions)
    return _text(1, name) + _message(2, _message(1, _number(1, element) + _message(2, shape)))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())
