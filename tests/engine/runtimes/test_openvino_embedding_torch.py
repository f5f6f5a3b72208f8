"""Vectors against PyTorch's own, from random weights and from the bundled model."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import EMBEDDING_MODEL
from tests.engine.runtimes.sentences import sentences
from tests.engine.runtimes.tiny_bert import CONFIG, Array, spec

from maloca.engine.runtimes.openvino_embedding import OpenVinoEmbedding
from maloca.engine.settings import EngineSettings
from maloca.engine.spec import model_spec
from maloca.engine.store.store import ModelStore
from maloca.text.tokenizer import Tokenizer

# PyTorch on a busy machine of two cores may take minutes for 500 sentences.
pytestmark = [pytest.mark.torch, pytest.mark.timeout(300)]

XQUAD = Path(__file__).parents[4] / "shared/data/qa/xquad.es.json"
SIMILARITY = 0.9999


def torch_library(name: str) -> Any:
    """Import a library of the extra `transformers`; only a developer may be without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: pip install 'maloca[transformers]'"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


def similarities(runtime: OpenVinoEmbedding, ids: list[list[int]], expected: Array) -> Array:
    """Return the cosine of each vector with the expected one of the same row."""
    actual = np.frombuffer(runtime.embed(ids), "<f4").reshape(len(ids), -1)
    lengths = np.linalg.norm(actual, axis=1) * np.linalg.norm(expected, axis=1)
    return np.asarray((actual * expected).sum(axis=1) / lengths)


@pytest.mark.parametrize(
    ("model_type", "activation"),
    [
        ("bert", "gelu"),
        ("bert", "gelu_new"),
        ("bert", "gelu_pytorch_tanh"),
        ("bert", "relu"),
        ("roberta", "gelu"),
        ("camembert", "gelu"),
        ("xlm-roberta", "gelu"),
    ],
)
def test_agrees_with_transformers(tmp_path: Path, model_type: str, activation: str) -> None:
    torch = torch_library("torch")
    transformers = torch_library("transformers")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        **CONFIG | {"model_type": model_type, "hidden_act": activation, "initializer_range": 0.5}
    )
    encoder = transformers.AutoModel.from_config(config).eval()
    encoder.save_pretrained(tmp_path)
    texts = [[2, *range(10, 40), 3], [2, 3], [2, 9, 9, 4, 9, 3]]
    with torch.no_grad():
        states = [encoder(torch.tensor([text])).last_hidden_state[0].numpy() for text in texts]
    mean = OpenVinoEmbedding(spec(tmp_path / "model.safetensors", context_length=32))
    assert similarities(mean, texts, np.array([s.mean(0) for s in states])).min() > 0.999999
    first = OpenVinoEmbedding(
        spec(tmp_path / "model.safetensors", context_length=32, pooling="cls")
    )
    assert similarities(first, texts, np.array([s[0] for s in states])).min() > 0.999999


@pytest.fixture(scope="module")
def reference(real_store: ModelStore) -> Any:
    """The bundled model in sentence-transformers."""
    library = torch_library("sentence_transformers")
    return library.SentenceTransformer(str(real_store.get(EMBEDDING_MODEL).folder), device="cpu")


@pytest.fixture(scope="module")
def bundled(real_store: ModelStore) -> OpenVinoEmbedding:
    """The bundled model as the engine runs it."""
    return OpenVinoEmbedding(model_spec(real_store.get(EMBEDDING_MODEL), EngineSettings.load()))


@pytest.fixture(scope="module")
def tokenizer(real_store: ModelStore) -> Tokenizer:
    """The bundled model's tokenizer as the engine uses it."""
    return Tokenizer.from_file(real_store.get(EMBEDDING_MODEL).tokenizer)


def reference_ids(reference: Any, texts: list[str]) -> list[list[int]]:
    """Return the token ids that sentence-transformers gives its model, without padding."""
    features = reference.tokenize(texts)
    rows = zip(features["input_ids"], features["attention_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in rows]


@pytest.mark.real
class TestBundledModel:
    def test_reads_as_many_tokens_as_its_publisher_says(
        self, bundled: OpenVinoEmbedding, reference: Any
    ) -> None:
        assert bundled.capacity.context_length == reference.max_seq_length == 256
        assert bundled.capacity.dim == 384

    def test_500_sentences(
        self, bundled: OpenVinoEmbedding, reference: Any, tokenizer: Tokenizer
    ) -> None:
        texts = sentences()
        assert len(set(texts)) == 500
        ids = tokenizer.encode_for_embedding(texts)
        lengths = {len(text) for text in ids}
        assert min(lengths) < 10
        assert max(lengths) > 100
        assert ids == reference_ids(reference, texts)
        cosines = similarities(bundled, ids, reference.encode(texts))
        assert cosines.min() >= SIMILARITY, texts[int(cosines.argmin())]

    def test_spanish_wikipedia(
        self, bundled: OpenVinoEmbedding, reference: Any, tokenizer: Tokenizer
    ) -> None:
        if not XQUAD.is_file():
            missing = "../shared/data/qa/xquad.es.json is not there"
            (pytest.fail if os.environ.get("MALOCA_REQUIRE_DATA") else pytest.skip)(missing)
        articles = json.loads(XQUAD.read_text(encoding="utf-8"))["data"]
        paragraphs = [part for article in articles for part in article["paragraphs"]]
        texts = [part["context"] for part in paragraphs[::6]]
        texts += [part["qas"][0]["question"] for part in paragraphs[::2]]
        ids = tokenizer.encode_for_embedding(texts)
        # Beyond its length the reference cuts in silence; the engine refuses instead.
        fitting = [index for index, text in enumerate(ids) if len(text) <= 256]
        texts, ids = [texts[i] for i in fitting], [ids[i] for i in fitting]
        assert len(texts) > 140
        assert max(map(len, ids)) > 200
        assert ids == reference_ids(reference, texts)
        cosines = similarities(bundled, ids, reference.encode(texts))
        assert cosines.min() >= SIMILARITY, texts[int(cosines.argmin())]

    def test_a_text_alone_and_in_a_batch(
        self, bundled: OpenVinoEmbedding, tokenizer: Tokenizer
    ) -> None:
        ids = tokenizer.encode_for_embedding(sentences()[::7])
        alone = [np.frombuffer(bundled.embed([text]), "<f4") for text in ids]
        assert similarities(bundled, ids, np.array(alone)).min() >= 0.99999
