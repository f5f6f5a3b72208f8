from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.runtimes.tiny_bert import write_model

from maloca.engine.runtimes.base import ModelLoadError
from maloca.engine.runtimes.bert_config import BertConfig


def read(folder: Path, **changes: Any) -> BertConfig:
    write_model(folder, **changes)
    return BertConfig.read(folder / "config.json")


@pytest.mark.parametrize(
    ("model_type", "offset"), [("bert", 0), ("roberta", 2), ("xlm-roberta", 2), ("camembert", 2)]
)
def test_knows_where_positions_begin(tmp_path: Path, model_type: str, offset: int) -> None:
    config = read(tmp_path, model_type=model_type)
    assert config.position_offset == offset
    assert config.positions == 40 - offset


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mpnet"}, "model_type 'mpnet' is not supported; supported: bert, "),
        ({"hidden_act": "mish"}, "hidden_act 'mish' is not supported; supported: gelu, "),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key' is not supported; supported: absolute",
        ),
        ({"is_decoder": True}, "is_decoder is true; only encoders are built here"),
        ({"num_attention_heads": 3}, "hidden_size 16 cannot be shared among 3 attention heads"),
        ({"model_type": "roberta", "pad_token_id": 39}, "pad_token_id 39 leaves none of 40"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "16"}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_hidden_layers": -1}, "num_hidden_layers"),
        ({"vocab_size": 10**12}, "vocab_size"),
        ({"layer_norm_eps": 0}, "layer_norm_eps"),
    ],
)
def test_refuses_what_cannot_be_built(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        read(tmp_path, **changes)
    assert words in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_refuses_a_file_that_is_no_config(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match="does not describe a BERT encoder"):
        BertConfig.read(path)


def test_refuses_a_config_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="No such file"):
        BertConfig.read(tmp_path / "config.json")
