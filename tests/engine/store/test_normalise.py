"""What becomes of a sentence-transformers model on its way into the store."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from maloca.core.errors import ModelFailed
from maloca.engine.store.normalise import normalise_sentence_transformer

MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
OUTSIDE = {"type": "Pooling", "path": "../elsewhere"}
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a tiny model whose tokenizer truncates and pads, as published ones do."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "hola": 1}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tensors = {
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
    }
    header = json.dumps(tensors).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(32)
    (tmp_path / "model.safetensors").write_bytes(weights)
    config = {"model_type": "bert", "hidden_size": 2, "max_position_embeddings": 512}
    write(tmp_path, "config.json", config)
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 256})
    write(tmp_path, "modules.json", modules("Transformer", "Pooling", "Normalize"))
    write(tmp_path, "1_Pooling/config.json", MEAN)
    return tmp_path


def write(folder: Path, name: str, document: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))


def modules(*kinds: str) -> list[dict[str, str]]:
    return [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{index}_{kind}" if index else ""}
        for index, kind in enumerate(kinds)
    ]


def test_the_facts_come_from_the_files(folder: Path) -> None:
    facts = normalise_sentence_transformer(folder, "model.safetensors")
    assert (facts.architecture, facts.quantisation, facts.parameters) == ("bert", "F32", 6)
    assert (facts.context_length, facts.dim, facts.pooling, facts.normalize) == (
        256,
        2,
        "mean",
        True,
    )


def test_the_tokenizer_neither_cuts_nor_pads_any_more(folder: Path) -> None:
    path = folder / "tokenizer.json"
    assert Tokenizer.from_file(str(path)).encode("hola hola hola").ids == [1, 1, 0, 0]
    normalise_sentence_transformer(folder, "model.safetensors")
    assert Tokenizer.from_file(str(path)).encode("hola hola hola").ids == [1, 1, 1]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MEAN, "mean"),
        (CLS, "cls"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_pooling_is_read_in_its_old_and_new_form(
    folder: Path, config: dict[str, Any], expected: str
) -> None:
    write(folder, "1_Pooling/config.json", config)
    write(folder, "modules.json", modules("Transformer", "Pooling"))
    facts = normalise_sentence_transformer(folder, "model.safetensors")
    assert (facts.pooling, facts.normalize) == (expected, False)


@pytest.mark.parametrize(
    ("name", "document", "said"),
    [
        ("modules.json", modules("Transformer", "Pooling", "Dense"), "asks for .*Dense"),
        ("modules.json", {"type": "x"}, "cannot be used"),
        ("modules.json", [1], "cannot be used"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "asks for"),
        ("1_Pooling/config.json", MEAN | {"pooling_mode_cls_token": True}, "asks for"),
        ("1_Pooling/config.json", [], "cannot be used"),
        (
            "modules.json",
            [*modules("Transformer"), {"type": "x.Pooling", "path": "../x"}],
            "folder",
        ),
        ("config.json", {"model_type": "bert"}, "cannot be used"),
        ("config.json", [], "cannot be used"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "cannot be used"),
        ("sentence_bert_config.json", {"max_seq_length": "256"}, "cannot be used"),
        ("tokenizer.json", {"model": 1}, "is not a tokenizer"),
    ],
)
def test_what_is_not_understood_is_refused(
    folder: Path, name: str, document: Any, said: str
) -> None:
    write(folder, name, document)
    with pytest.raises(ModelFailed, match=said) as caught:
        normalise_sentence_transformer(folder, "model.safetensors")
    assert str(folder) in caught.value.info.message


@pytest.mark.parametrize(
    "name", ["config.json", "modules.json", "1_Pooling/config.json", "model.safetensors"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelFailed, match=name.replace(".", r"\.")):
        normalise_sentence_transformer(folder, "model.safetensors")
