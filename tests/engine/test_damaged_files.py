"""Damaged files of a model are named, and the engine stays up."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.conftest import engine_settings, fake_store, serve
from tests.engine.asking import (
    events_of,
    request,
    text_of,
)

from maloca.core.completer import EmbeddingRequest
from maloca.core.errors import MalocaError, ModelFailed
from maloca.engine.app import create_app
from maloca.engine.engine import Engine
from maloca.engine.store.fake import install_fake
from maloca.engine.store.store import ModelStore


def damage(store: ModelStore, name: str, file: str, how: str) -> Path:
    path = store.get(name).folder / file
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif how == "missing":
        path.unlink()
    elif how == "garbage":
        path.write_bytes(b"\xff" * path.stat().st_size)
    return path


@pytest.mark.parametrize("how", ["truncated", "missing", "garbage"])
@pytest.mark.parametrize("file", ["tokenizer.json", "chat_template.jinja", "manifest.json"])
async def test_a_damaged_file_is_named_and_the_engine_stays_up(
    tmp_path: Path, file: str, how: str
) -> None:
    store = fake_store(tmp_path)
    install_fake(store, "other")
    path = damage(store, "default", file, how)
    engine = Engine(engine_settings(store.path))
    await engine.start()
    try:
        with pytest.raises(MalocaError) as caught:
            await events_of(engine, request())
        info = caught.value.info
        assert info.code in {"model_failed", "model_not_found"}
        assert (path.name in info.message) or how == "missing"
        assert info.hint
        others = await events_of(engine, request(model="other", reply="yo sí"))
        assert text_of(others) == "yo sí"
    finally:
        await engine.stop()


async def test_damage_of_the_same_size_inside_the_tokenizer_is_found_too(tmp_path: Path) -> None:
    store = fake_store(tmp_path)
    path = damage(store, "embedding", "tokenizer.json", "garbage")
    engine = Engine(engine_settings(store.path, preload=False))
    with pytest.raises(ModelFailed, match=r"tokenizer\.json cannot be read"):
        await engine.embed(EmbeddingRequest(model="embedding", texts=["a"]))
    assert path.exists()
    await engine.stop()


@pytest.mark.parametrize("file", ["tokenizer.json", "manifest.json"])
def test_health_names_a_damaged_default_model(tmp_path: Path, file: str) -> None:
    store = fake_store(tmp_path)
    path = damage(store, "default", file, "truncated")
    with serve(create_app(engine_settings(store.path)), ready="/health/live") as live:
        response = httpx.get(live.url + "/health")
        assert (response.status_code, response.json()["status"]) == (200, "failed")
        assert str(path) in response.json()["message"]
        assert "maloca models pull fake" in response.json()["message"]
        assert httpx.get(live.url + "/health/ready").status_code == 503


def test_health_names_a_damaged_file_of_aliases(tmp_path: Path) -> None:
    store = fake_store(tmp_path)
    (tmp_path / ".aliases.json").write_text("{")
    with serve(create_app(engine_settings(store.path)), ready="/health/live") as live:
        response = httpx.get(live.url + "/health")
        assert (response.status_code, response.json()["status"]) == (200, "failed")
        assert ".aliases.json" in response.json()["message"]
