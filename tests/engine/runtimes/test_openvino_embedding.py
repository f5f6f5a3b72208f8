from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from tests.engine.runtimes.tiny_bert import (
    CONFIG,
    Array,
    random_weights,
    spec,
    token_vectors,
    write_model,
)

from maloca.engine.runtimes.base import ModelLoadError
from maloca.engine.runtimes.openvino_embedding import OpenVinoEmbedding
from maloca.engine.runtimes.registry import load

# Several groups: long and short texts, one of a single token, one repeated, one as long as allowed.
TEXTS = [
    [2, *range(10, 30), 3],
    [7],
    [2, 5, 3],
    list(range(40)),
    [2, 5, 3],
    *[[2, *[index] * (index % 38), 3] for index in range(50)],
]


def vectors(runtime: OpenVinoEmbedding, texts: list[list[int]]) -> Array:
    raw = runtime.embed(texts)
    return np.frombuffer(raw, "<f4").reshape(len(texts), runtime.capacity.dim)


def unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(ModelLoadError) as caught:
        OpenVinoEmbedding(spec(path, **options))
    return str(caught.value)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return Path(write_model(tmp_path / "tiny").weights)


@pytest.fixture
def runtime(tiny: Path) -> OpenVinoEmbedding:
    return OpenVinoEmbedding(spec(tiny))


class TestVectors:
    def test_are_what_the_papers_compute(self, runtime: OpenVinoEmbedding) -> None:
        expected = [unit(token_vectors(random_weights(), text).mean(0)) for text in TEXTS]
        np.testing.assert_allclose(vectors(runtime, TEXTS), expected, atol=2e-6)

    def test_can_be_the_first_tokens(self, tiny: Path) -> None:
        runtime = OpenVinoEmbedding(spec(tiny, pooling="cls"))
        expected = [unit(token_vectors(random_weights(), text)[0]) for text in TEXTS]
        np.testing.assert_allclose(vectors(runtime, TEXTS), expected, atol=2e-6)

    def test_can_keep_their_length(self, tiny: Path) -> None:
        runtime = OpenVinoEmbedding(spec(tiny, normalize=False, threads=1))
        expected = [token_vectors(random_weights(), text).mean(0) for text in TEXTS]
        np.testing.assert_allclose(vectors(runtime, TEXTS), expected, atol=2e-5)
        assert np.linalg.norm(expected, axis=1).min() > 1.1

    def test_do_not_depend_on_the_rest_of_the_batch(self, runtime: OpenVinoEmbedding) -> None:
        together = vectors(runtime, TEXTS)
        alone = np.concatenate([vectors(runtime, [text]) for text in TEXTS])
        assert (together * alone).sum(axis=1).min() >= 0.99999

    def test_of_no_text_are_none(self, runtime: OpenVinoEmbedding) -> None:
        assert runtime.embed([]) == b""

    @pytest.mark.parametrize(("dtype", "tolerance"), [("F16", 2e-3), ("BF16", 2e-2)])
    def test_come_from_half_precision_too(
        self, tmp_path: Path, dtype: str, tolerance: float
    ) -> None:
        runtime = OpenVinoEmbedding(write_model(tmp_path, dtype=dtype))
        expected = [unit(token_vectors(random_weights(), text).mean(0)) for text in TEXTS]
        np.testing.assert_allclose(vectors(runtime, TEXTS), expected, atol=tolerance)

    @pytest.mark.parametrize("prefix", ["bert.", "roberta."])
    def test_are_found_behind_a_prefix(
        self, tmp_path: Path, runtime: OpenVinoEmbedding, prefix: str
    ) -> None:
        renamed = {prefix + name: tensor for name, tensor in random_weights().items()}
        same = OpenVinoEmbedding(write_model(tmp_path, renamed))
        assert same.embed(TEXTS) == runtime.embed(TEXTS)


def test_says_what_it_can_hold(tiny: Path) -> None:
    runtime = load(spec(tiny, context_length=32))
    assert isinstance(runtime, OpenVinoEmbedding)
    assert (runtime.capacity.context_length, runtime.capacity.dim) == (32, 16)
    assert runtime.capacity.device == "CPU"


def test_offers_no_more_tokens_than_the_model_has_positions(tiny: Path) -> None:
    runtime = OpenVinoEmbedding(spec(tiny, context_length=512))
    assert runtime.capacity.context_length == CONFIG["max_position_embeddings"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ([], "text 1 has 0 tokens, not 1 to 40"),
        ([1] * 41, "text 1 has 41 tokens, not 1 to 40"),
        ([1, 50, 2], "text 1 has the token id 50, not 0 to 49"),
        ([1, -1, 2], "text 1 has the token id -1, not 0 to 49"),
    ],
)
def test_refuses_what_would_give_nonsense(
    runtime: OpenVinoEmbedding, text: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        runtime.embed([[1, 2], text])
    assert vectors(runtime, [[1, 2]]).shape == (1, 16)


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("pooling", "max"),
            ("normalize", "yes"),
            ("threads", 0),
            ("threads", True),
            ("precision", "int4"),
            ("treads", 2),
        ],
    )
    def test_are_refused_by_name(self, tiny: Path, name: str, value: object) -> None:
        message = refusal(tiny, **{name: value})
        assert name in message
        assert repr(value) in message
        assert "pooling, normalize, threads, precision" in message

    def test_bf16_is_close_or_refused(
        self, tiny: Path, runtime: OpenVinoEmbedding, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fast = spec(tiny, precision="bf16")
        if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            cosines = (vectors(OpenVinoEmbedding(fast), TEXTS) * vectors(runtime, TEXTS)).sum(1)
            assert 0.99 < cosines.min() < 0.9999999
            monkeypatch.setattr(ov.Core, "get_property", lambda *_: ["FP32", "INT8"])
        with pytest.raises(ModelLoadError, match="bf16, which this processor cannot compute in"):
            OpenVinoEmbedding(fast)


class TestDamage:
    def test_weights_that_are_missing(self, tmp_path: Path) -> None:
        write_model(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        assert "model.safetensors" in refusal(tmp_path / "model.safetensors")

    def test_weights_that_are_cut_short(self, tiny: Path) -> None:
        tiny.write_bytes(tiny.read_bytes()[:-1])
        assert str(tiny) in refusal(tiny)

    def test_a_tensor_that_is_missing(self, tmp_path: Path) -> None:
        weights = random_weights()
        del weights["encoder.layer.1.output.dense.bias"]
        path = Path(write_model(tmp_path, weights).weights)
        message = refusal(path)
        assert str(path) in message
        assert "'encoder.layer.1.output.dense.bias'" in message

    def test_a_tensor_of_another_shape(self, tmp_path: Path) -> None:
        path = Path(write_model(tmp_path, vocab_size=51).weights)
        assert "[50, 16], but its config wants [51, 16]" in refusal(path)

    def test_a_type_that_is_not_read(self, tmp_path: Path) -> None:
        path = Path(write_model(tmp_path, dtype="F64").weights)
        message = refusal(path)
        assert "F64" in message
        assert "only F32, F16, BF16" in message

    def test_another_kind_of_model(self, tmp_path: Path) -> None:
        named = {f"model.{name}": tensor for name, tensor in random_weights().items()}
        path = Path(write_model(tmp_path, named).weights)
        assert "holds no 'embeddings.word_embeddings.weight'" in refusal(path)

    def test_weights_that_are_not_numbers(self, tmp_path: Path) -> None:
        weights = random_weights()
        weights["embeddings.LayerNorm.bias"][3] = np.nan
        path = Path(write_model(tmp_path, weights).weights)
        assert "does not give finite vectors" in refusal(path)

    @pytest.mark.parametrize("name", ["model.gguf", "model.bin", "model"])
    def test_a_file_of_another_format(self, tmp_path: Path, name: str) -> None:
        assert "is none of .xml, .onnx, .safetensors" in refusal(tmp_path / name)

    @pytest.mark.parametrize("name", ["model.xml", "model.onnx"])
    def test_a_graph_that_is_missing_or_damaged(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        assert f"{path} is missing" in refusal(path)
        path.write_bytes(b"<net")
        assert f"OpenVINO cannot read {path}" in refusal(path)
