"""A BERT small enough to compute by hand, and that computation in plain NumPy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maloca.engine.workers.frames import ModelSpec

Array = npt.NDArray[Any]

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 2,
    "pad_token_id": 1,
}


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return what an encoder's file holds."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    named: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        dense = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        dense["attention.output.dense"] = (width, width)
        dense["intermediate.dense"] = (inner, width)
        dense["output.dense"] = (width, inner)
        for name, shape in dense.items():
            named[f"{at}{name}.weight"] = shape
            named[f"{at}{name}.bias"] = shape[:1]
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    for name in norms:
        named |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return named


def random_weights(config: Mapping[str, Any] = CONFIG, seed: int = 0) -> dict[str, Array]:
    """Return weights large enough for every part of the encoder to matter."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes(config).items()
    }


def write_safetensors(path: Path, tensors: Mapping[str, Array], dtype: str = "F32") -> None:
    """Write tensors in the format of huggingface/safetensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = to_bytes(tensor, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)


def to_bytes(tensor: Array, dtype: str) -> bytes:
    """Return a tensor's bytes in one of the file's types."""
    if dtype == "BF16":
        return (tensor.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return tensor.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()


def write_model(
    folder: Path,
    tensors: Mapping[str, Array] | None = None,
    *,
    dtype: str = "F32",
    **changes: Any,
) -> ModelSpec:
    """Write a model and return its spec; a change of None removes a key of the config."""
    config = {k: v for k, v in (CONFIG | changes).items() if v is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", tensors or random_weights(), dtype)
    return spec(folder / "model.safetensors")


def spec(weights: Path, *, context_length: int = 40, **options: Any) -> ModelSpec:
    """Return what a worker would be told about that file."""
    return ModelSpec(
        name="tiny",
        kind="embedding",
        runtime="openvino",
        folder=str(weights.parent),
        weights=str(weights),
        context_length=context_length,
        stop_token_ids=[],
        cache_dir=str(weights.parent / "derived"),
        options=options,
    )


def token_vectors(
    weights: Mapping[str, Array], ids: Sequence[int], config: Mapping[str, Any] = CONFIG
) -> Array:
    """Return the encoder's last hidden state for one text, shape (tokens, hidden_size).

    Source: Devlin et al. 2019, arXiv:1810.04805, and Vaswani et al. 2017, arXiv:1706.03762.
    """
    w = {name: tensor.astype(np.float64) for name, tensor in weights.items()}

    def dense(x: Array, name: str) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return centred / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["embeddings.word_embeddings.weight"][list(ids)]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    size = config["hidden_size"] // config["num_attention_heads"]
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        q, k, v = (dense(x, f"{at}attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for start in range(0, config["hidden_size"], size):
            part = slice(start, start + size)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
        attended = dense(np.concatenate(heads, -1), f"{at}attention.output.dense")
        x = norm(attended + x, f"{at}attention.output.LayerNorm")
        inner = dense(x, f"{at}intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(dense(inner, f"{at}output.dense") + x, f"{at}output.LayerNorm")
    return x
