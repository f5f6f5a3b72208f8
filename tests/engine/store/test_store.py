"""The store: what it lists, what it refuses, and that it never leaves its folder."""

from __future__ import annotations

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs
from tokenizers import Tokenizer

from maloca.core.errors import InvalidRequest, ModelFailed, ModelNotFound, Unavailable
from maloca.engine.store.fake import END_OF_TEXT, IM_END, IM_START, install_fake
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.names import check_name, name_from, safe_relative
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore

BAD_NAMES = [
    "",
    "..",
    ".hidden",
    "-x",
    "a..b",
    "a/b",
    "a\\b",
    "/etc",
    "UPPER",
    "ñandú",
    "a b",
    "x" * 65,
    "nul",
    "com1.gguf",
    "dot.",
    "a\n",
    "a\0",
    "aliases.lock",
]


def test_an_empty_store_is_no_error(store: ModelStore) -> None:
    assert store.list() == []
    assert store.aliases() == {}
    assert not store.path.exists()


def test_models_are_listed_by_name_with_their_aliases(store: ModelStore) -> None:
    for name in ("zorro", "ardilla"):
        install_fake(store, name)
    store.set_alias("default", "zorro")
    store.set_alias("b", "zorro")
    assert [model.name for model in store.list()] == ["ardilla", "zorro"]
    assert store.get("default").name == "zorro"
    assert store.aliases() == {"b": "zorro", "default": "zorro"}
    assert store.aliases_of("zorro") == ("b", "default")


def test_the_fake_model_knows_bytes_and_control_tokens(store: ModelStore) -> None:
    model = install_fake(store, "eco", delay_ms=3)
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    text = "<|im_start|>añɨ🔥\x00<|im_end|><|endoftext|>"
    ids = [IM_START, *"añɨ🔥\x00".encode(), IM_END, END_OF_TEXT]
    assert tokenizer.encode(text).ids == ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert model.manifest.stop_token_ids == [IM_END, END_OF_TEXT]
    assert model.manifest.options == {"delay_ms": 3}
    assert "<|im_start|>" in (model.chat_template or "")


def test_a_fake_embedder_has_a_dimension_and_no_template(store: ModelStore) -> None:
    model = install_fake(store, "vectores", kind="embedding", dim=8)
    assert (model.manifest.kind, model.manifest.dim, model.chat_template) == ("embedding", 8, None)


def test_installing_again_replaces_the_model(store: ModelStore) -> None:
    install_fake(store, "eco", context_length=10)
    store.set_alias("default", "eco")
    install_fake(store, "eco", context_length=20)
    assert store.get("default").manifest.context_length == 20
    assert not list((store.path / ".staging").rglob("*"))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_and_quoted(store: ModelStore, name: str) -> None:
    for refuse in (
        lambda: install_fake(store, name),
        lambda: store.remove(name),
        lambda: store.set_alias(name, "eco"),
        lambda: store.set_alias("eco", name),
        lambda: check_name(name),
    ):
        with pytest.raises(InvalidRequest, match="is not a") as caught:
            refuse()
        assert "lower-case" in (caught.value.info.hint or "")
    with pytest.raises(ModelNotFound):
        store.get(name)


def test_names_follow_from_files() -> None:
    assert name_from("My Model.Q4_K_M") == "my-model.q4_k_m"
    assert name_from("..Évil..x") == "vil.x"
    with pytest.raises(InvalidRequest):
        name_from("ÑÑÑ")


@pytest.mark.parametrize(
    ("path", "safe"),
    [("a", True), ("a/b.json", True), ("a//b", False), ("./a", False), ("a/", False)],
)
def test_relative_paths(path: str, *, safe: bool) -> None:
    assert safe_relative(path) is safe


def test_a_model_that_is_not_there_says_what_is(store: ModelStore) -> None:
    install_fake(store, "eco")
    store.set_alias("default", "eco")
    with pytest.raises(ModelNotFound) as caught:
        store.get("smollm2-135m-instruct")
    hint = caught.value.info.hint or ""
    assert "'smollm2-135m-instruct'" in caught.value.info.message
    assert "default, eco" in hint
    assert "`maloca models pull smollm2-135m-instruct`" in hint


def test_an_alias_of_a_missing_model_says_both_names(store: ModelStore) -> None:
    store.path.mkdir()
    (store.path / ".aliases.json").write_text('{"default": "gone"}')
    with pytest.raises(ModelNotFound, match=r"'gone', which 'default' points to"):
        store.get("default")


def test_an_alias_needs_a_model_and_a_name_of_its_own(store: ModelStore) -> None:
    install_fake(store, "eco")
    with pytest.raises(ModelNotFound):
        store.set_alias("default", "gone")
    with pytest.raises(InvalidRequest, match="own name"):
        store.set_alias("eco", "eco")
    store.set_alias("default", "eco")
    with pytest.raises(ModelNotFound):
        store.set_alias("x", "default")
    with pytest.raises(InvalidRequest, match="is an alias of"):
        install_fake(store, "default")


def test_aliases_set_at_once_are_all_kept(store: ModelStore) -> None:
    install_fake(store, "eco")
    names = [f"alias-{number}" for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda alias: store.set_alias(alias, "eco"), names))
    assert sorted(store.aliases()) == sorted(names)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "{", "[" * 5000])
def test_damaged_aliases_are_named_and_hide_no_model(store: ModelStore, content: str) -> None:
    install_fake(store, "eco")
    (store.path / ".aliases.json").write_text(content)
    with pytest.raises(ModelFailed, match=r"\.aliases\.json"):
        store.get("default")
    assert store.get("eco").name == "eco"


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "{}",
        lambda _: "[" * 5000,
        lambda text: text.replace('"name": "eco"', '"name": "other"'),
        lambda text: text.replace('"path": "tokenizer.json"', '"path": "../../etc/passwd"'),
        lambda text: text.replace('"weights": "tokenizer.json"', '"weights": "/etc/passwd"'),
        lambda text: text.replace('"context_length": 4096', '"context_length": 0'),
        lambda text: text + " " * 5_000_000,
    ],
    ids=["empty", "no-fields", "deep", "name", "file", "weights", "context", "huge"],
)
def test_a_damaged_manifest_is_left_out_with_a_warning(store: ModelStore, change: object) -> None:
    install_fake(store, "sano")
    manifest = install_fake(store, "eco").folder / "manifest.json"
    text = manifest.read_text()
    assert callable(change)
    assert change(text) != text
    manifest.write_text(change(text))
    with capture_logs() as logs:
        assert [model.name for model in store.list()] == ["sano"]
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert str(manifest) in logs[0]["reason"]
    with pytest.raises(ModelFailed, match=r"manifest\.json cannot be used"):
        store.get("eco")


def test_foreign_files_in_the_store_are_ignored(store: ModelStore) -> None:
    install_fake(store, "eco")
    (store.path / "notes.txt").write_text("mine")
    (store.path / "Folder").mkdir()
    (store.path / "empty").mkdir()
    with capture_logs() as logs:
        assert [model.name for model in store.list()] == ["eco"]
    assert "empty" in logs[0]["folder"]


def test_a_removal_waits_for_the_alias(store: ModelStore) -> None:
    model = install_fake(store, "eco")
    store.set_alias("default", "eco")
    with pytest.raises(InvalidRequest, match="'default' points to"):
        store.remove("eco")
    with pytest.raises(InvalidRequest, match="is an alias"):
        store.remove("default")
    with pytest.raises(ModelNotFound):
        store.remove("gone")
    assert model.folder.is_dir()
    store.remove("eco", force=True)
    assert not model.folder.exists()
    assert store.aliases() == {}
    assert not list((store.path / ".staging").rglob("*"))


def test_a_damaged_model_can_be_removed(store: ModelStore) -> None:
    model = install_fake(store, "eco")
    (model.folder / "manifest.json").unlink()
    store.remove("eco")
    assert not model.folder.exists()


def test_links_are_never_followed(store: ModelStore, tmp_path: Path) -> None:
    elsewhere = ModelStore(tmp_path / "elsewhere")
    outside = install_fake(elsewhere, "fuera")
    store.path.mkdir()
    (store.path / "fuera").symlink_to(outside.folder, target_is_directory=True)
    assert store.list() == []
    with pytest.raises(ModelNotFound):
        store.get("fuera")
    store.remove("fuera")
    assert not (store.path / "fuera").is_symlink()
    elsewhere.check(outside, full=True)

    model = install_fake(store, "eco")
    (model.folder / "derived").symlink_to(outside.folder, target_is_directory=True)
    store.remove("eco")
    elsewhere.check(outside, full=True)


def test_check_names_the_damaged_file(store: ModelStore, tmp_path: Path) -> None:
    model = install_fake(store, "eco")
    store.check(model, full=True)
    original = model.tokenizer.read_bytes()

    model.tokenizer.write_bytes(original[:-1] + b" ")
    store.check(model)
    with pytest.raises(ModelFailed, match=r"tokenizer\.json has SHA-256") as caught:
        store.check(model, full=True)
    assert caught.value.info.hint == "Run `maloca models pull eco` to fetch it again."

    model.tokenizer.write_bytes(original[:-1])
    with pytest.raises(ModelFailed, match=r"tokenizer\.json has 5,364 bytes"):
        store.check(model)

    model.tokenizer.unlink()
    with pytest.raises(ModelFailed, match=r"tokenizer\.json is missing"):
        store.check(model)

    (tmp_path / "copy").write_bytes(original)
    model.tokenizer.symlink_to(tmp_path / "copy")
    with pytest.raises(ModelFailed, match=r"tokenizer\.json is not a plain file"):
        store.check(model)


def test_what_runtimes_derive_is_not_part_of_the_model(store: ModelStore) -> None:
    model = install_fake(store, "eco")
    size = model.size
    model.cache_dir.mkdir()
    (model.cache_dir / "ir.bin").write_bytes(b"x" * 1000)
    store.check(model, full=True)
    assert store.get("eco").size == size


def test_the_manifest_is_readable_by_a_person(store: ModelStore) -> None:
    text = (install_fake(store, "eco").folder / "manifest.json").read_text()
    assert json.loads(text)["licence"] == "Apache-2.0"
    assert text.count("\n") > 10


def test_a_store_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = ModelStore(tmp_path / "file" / "models")
    assert blocked.list() == []
    with pytest.raises(Unavailable, match="Not a directory") as caught:
        install_fake(blocked, "eco")
    assert caught.value.info.code == "store_unwritable"
    assert str(blocked.path) in caught.value.info.message
    assert "MALOCA_MODELS_DIR" in (caught.value.info.hint or "")
    with pytest.raises(Unavailable, match="Not a directory"):
        pull(blocked, "smollm2-135m-instruct", source=tmp_path)


def test_a_removal_that_the_disk_refuses_keeps_the_model(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = install_fake(store, "eco")

    def refuse(_: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "in use", str(target))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Unavailable, match="in use"):
        store.remove("eco")
    store.check(model, full=True)


def test_a_file_behind_a_linked_folder_is_not_the_models(store: ModelStore, tmp_path: Path) -> None:
    model = install_fake(store, "eco")
    file = msgspec.structs.replace(model.manifest.files[1], path="sub/tokenizer.json")
    manifest = msgspec.structs.replace(model.manifest, files=[file])
    nested = StoredModel(manifest, model.folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    model.tokenizer.rename(outside / "tokenizer.json")
    (model.folder / "sub").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ModelFailed, match=r"sub/tokenizer\.json is not a plain file inside"):
        store.check(nested)
    (model.folder / "sub").unlink()
    outside.rename(model.folder / "sub")
    store.check(nested, full=True)
