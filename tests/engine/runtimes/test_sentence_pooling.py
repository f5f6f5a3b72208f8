from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from tests.engine.runtimes.graphs import TABLE, lookup_model, onnx_lookup
from tests.engine.runtimes.tiny_bert import Array, spec, write_model

from maloca.engine.runtimes.base import ModelLoadError
from maloca.engine.runtimes.openvino_embedding import OpenVinoEmbedding

TEXTS = [[4, 9, 2], [1], [6, 6, 6, 6, 8]]
MEANS = np.array([TABLE[text].mean(0) for text in TEXTS])
FIRSTS = np.array([TABLE[text[0]] for text in TEXTS])
LARGEST = np.array([TABLE[text].max(0) for text in TEXTS])


def save(folder: Path, model: ov.Model) -> Path:
    path = folder / "openvino_model.xml"
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, path, compress_to_fp16=False)
    return path


def vectors(path: Path, **options: object) -> Array:
    runtime = OpenVinoEmbedding(spec(path, **options))
    return np.frombuffer(runtime.embed(TEXTS), "<f4").reshape(len(TEXTS), runtime.capacity.dim)


def unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize("inputs", [("input_ids", "attention_mask"), None])
def test_pools_the_token_vectors_of_an_ir(tmp_path: Path, inputs: tuple[str, ...] | None) -> None:
    path = save(tmp_path, lookup_model(inputs=inputs) if inputs else lookup_model())
    np.testing.assert_allclose(vectors(path), unit(MEANS), rtol=1e-5)
    np.testing.assert_allclose(vectors(path, pooling="cls"), unit(FIRSTS), rtol=1e-5)
    np.testing.assert_allclose(vectors(path, normalize=False), MEANS, rtol=1e-5)


def test_pools_the_token_vectors_of_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_lookup())
    np.testing.assert_allclose(vectors(path), unit(MEANS), rtol=1e-5)


def test_prefers_token_vectors_to_the_models_own_pooling(tmp_path: Path) -> None:
    both = lookup_model(outputs=("sentence_embedding", "last_hidden_state"))
    np.testing.assert_allclose(vectors(save(tmp_path, both)), unit(MEANS), rtol=1e-5)


def test_keeps_the_pooling_of_a_model_that_shows_no_tokens(tmp_path: Path) -> None:
    pooled = save(tmp_path, lookup_model(outputs=("sentence_embedding",)))
    alone = OpenVinoEmbedding(spec(pooled)).embed([TEXTS[0]])
    np.testing.assert_allclose(np.frombuffer(alone, "<f4"), unit(LARGEST)[0], rtol=1e-5)


def test_frees_a_graph_of_its_fixed_shape(tmp_path: Path) -> None:
    path = save(tmp_path, lookup_model(shape=(1, 128)))
    np.testing.assert_allclose(vectors(path), unit(MEANS), rtol=1e-5)


@pytest.mark.parametrize("shipped", ["openvino/openvino_model.xml", "onnx/model.onnx"])
def test_prefers_a_shipped_graph_to_bare_weights(tmp_path: Path, shipped: str) -> None:
    weights = Path(write_model(tmp_path).weights)
    graph = tmp_path / shipped
    graph.parent.mkdir()
    if graph.suffix == ".xml":
        save(graph.parent, lookup_model())
    else:
        graph.write_bytes(onnx_lookup())
    np.testing.assert_allclose(vectors(weights), unit(MEANS), rtol=1e-5)


@pytest.mark.parametrize(
    "inputs",
    [("input_ids",), ("input_ids", "attention_mask", "pixel_values"), ("tokens", "mask")],
)
def test_refuses_inputs_that_are_not_text(tmp_path: Path, inputs: tuple[str, ...]) -> None:
    path = save(tmp_path, lookup_model(inputs=inputs))
    with pytest.raises(ModelLoadError) as caught:
        OpenVinoEmbedding(spec(path))
    assert f"{path} cannot be run" in str(caught.value)
    assert f"inputs are {', '.join(sorted(inputs))};" in str(caught.value)


def test_refuses_outputs_that_are_no_vectors(tmp_path: Path) -> None:
    path = save(tmp_path, lookup_model(outputs=("scores",)))
    with pytest.raises(ModelLoadError, match="outputs have the shapes") as caught:
        OpenVinoEmbedding(spec(path))
    assert str(path) in str(caught.value)
