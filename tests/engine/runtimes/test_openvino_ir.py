"""OpenVINO's own folder of a model: derived once, kept, and never from a damaged file."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import engine_settings
from tests.engine.asking import request

from maloca.core.completer import collect
from maloca.core.errors import MalocaError
from maloca.core.sampling import Sampling
from maloca.engine.engine import Engine
from maloca.engine.runtimes import openvino_ir
from maloca.engine.runtimes.base import ModelLoadError
from maloca.engine.runtimes.openvino_chat import OpenVinoChat
from maloca.engine.runtimes.openvino_ir import ir_folder, kv_bytes_per_token
from maloca.engine.runtimes.registry import load
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.store import ModelStore
from maloca.engine.workers.frames import ModelSpec

OPTIONS = {"kv_cache_mb": 128, "max_running": 2, "prefill_chunk": 64, "prefix_cache": True}


def spec_of(weights: Path, **more: Any) -> ModelSpec:
    values: dict[str, Any] = {
        "name": "m",
        "kind": "chat",
        "runtime": "openvino",
        "folder": str(weights.parent),
        "weights": str(weights),
        "context_length": 8192,
        "stop_token_ids": [2, 0],
        "cache_dir": str(weights.parent / "derived"),
        "options": OPTIONS,
    }
    return ModelSpec(**(values | more))


@pytest.fixture
def chat(real_store: ModelStore) -> StoredModel:
    return real_store.get("default")


@pytest.fixture
def weights(chat: StoredModel, tmp_path: Path) -> Path:
    """Return a GGUF file that a test may damage."""
    path = tmp_path / "model.gguf"
    shutil.copyfile(chat.weights, path)
    return path


@pytest.mark.real
def test_an_ir_is_derived_once_and_kept(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(weights)
    folder = ir_folder(spec)
    assert (folder / "openvino_model.xml").is_file()
    assert sorted(path.name for path in weights.parent.iterdir()) == ["derived", "model.gguf"]
    assert [path.name for path in (weights.parent / "derived").iterdir()] == [folder.name]

    def never(*_: object) -> None:
        pytest.fail("derived again")

    monkeypatch.setattr(openvino_ir, "_derive", never)
    assert ir_folder(spec) == folder
    # OpenVINO reads the folder by itself, as it would one that was pulled.
    assert ir_folder(spec_of(folder / "openvino_model.xml")) == folder
    assert OpenVinoChat(spec).capacity.context_length == 8192


@pytest.mark.real
def test_where_nothing_can_be_kept_the_file_itself_is_used(
    weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (weights.parent / "derived").write_text("in the way")
    assert ir_folder(spec_of(weights)) == weights
    assert "is not kept" in capfd.readouterr().err


@pytest.mark.real
def test_the_kv_cache_of_the_bundled_model_is_what_was_measured(chat: StoredModel) -> None:
    # 30 layers, 3 KV heads of 64 in 8 bits with a scale and a zero point, keys and values.
    assert kv_bytes_per_token(spec_of(chat.weights)) == 2 * 30 * 3 * 76


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


DAMAGE = {
    "truncated weights": lambda path: truncate(path, path.stat().st_size - 4096),
    "truncated header": lambda path: truncate(path, 1000),
    "empty": lambda path: truncate(path, 0),
    "garbage": lambda path: path.write_bytes(b"\xff" * 4096),
    "another magic": lambda path: path.write_bytes(b"GGML" + path.read_bytes()[4:]),
    "text": lambda path: path.write_text("<html>not found</html>"),
}


@pytest.mark.real
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_refused_by_name(weights: Path, damage: Any) -> None:
    damage(weights)
    with pytest.raises(ModelLoadError, match=r"model\.gguf") as caught:
        load(spec_of(weights))
    assert len(str(caught.value)) < 500
    assert not (weights.parent / "derived").exists() or not [
        path for path in (weights.parent / "derived").iterdir() if not path.name.startswith(".")
    ]


@pytest.mark.real
async def test_the_engine_names_a_file_that_was_damaged_in_place_and_stays_up(
    real_store: ModelStore, tmp_path: Path
) -> None:
    """Damage of the same size passes the check of sizes; the loader must find it."""
    store = ModelStore(tmp_path)
    chat = real_store.get("default")
    shutil.copytree(chat.folder, tmp_path / chat.name, ignore=shutil.ignore_patterns("derived"))
    store.set_alias("default", chat.name)
    with (tmp_path / chat.name / "model.gguf").open("r+b") as file:
        file.write(b"\xff" * 4096)
    engine = Engine(engine_settings(tmp_path, preload=False))
    try:
        for _ in range(2):
            with pytest.raises(MalocaError, match=r"model\.gguf") as caught:
                await collect(engine.complete(request(sampling=Sampling(max_new_tokens=1))))
            assert caught.value.info.code == "model_failed"
            assert "maloca models pull" in (caught.value.info.hint or "")
        assert [model.state for model in await engine.models()] == ["failed"]
    finally:
        await engine.stop()


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin", "model"])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelLoadError, match=name):
        ir_folder(spec_of(tmp_path / name))


@pytest.mark.parametrize(
    "config",
    ["", "[]", "{}", '{"num_attention_heads": 0}', '{"num_attention_heads": "x"}', "[" * 99_999],
    ids=lambda config: config[:20] or "empty",
)
def test_an_ir_without_its_shape_is_refused_by_name(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        kv_bytes_per_token(spec_of(tmp_path / "openvino_model.xml"))


def test_an_irs_shape_is_read_from_its_config(tmp_path: Path) -> None:
    shape = {"num_attention_heads": 8, "num_hidden_layers": 2, "hidden_size": 512}
    config = tmp_path / "config.json"
    spec = spec_of(tmp_path / "openvino_model.xml")
    config.write_text(json.dumps(shape))
    assert kv_bytes_per_token(spec) == 2 * 2 * 8 * (64 + 12)
    config.write_text(json.dumps(shape | {"num_key_value_heads": 2, "head_dim": 32}))
    assert kv_bytes_per_token(spec) == 2 * 2 * 2 * (32 + 12)


def test_an_unknown_runtime_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no runtime 'magic' for chat models") as caught:
        load(spec_of(tmp_path / "model.gguf", runtime="magic"))
    assert "openvino (chat)" in str(caught.value)
    assert "fake (embedding)" in str(caught.value)
