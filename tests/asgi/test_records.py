from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import maloca
from maloca.asgi import records


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MALOCA_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield records.url_of("127.0.0.1", listener.getsockname()[1])


def test_what_is_written_is_found_until_it_is_removed(url: str, home: Path) -> None:
    record = records.write("engine", url)
    assert record.pid == os.getpid()
    assert record.version == maloca.__version__
    assert records.find("engine") == record
    assert [path.name for path in (home / "run").iterdir()] == ["engine.json"]
    records.remove(record)
    assert records.find("engine") is None
    assert list((home / "run").iterdir()) == []


def test_one_that_does_not_listen_is_not_found() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        records.write("engine", records.url_of("127.0.0.1", bound.getsockname()[1]))
        assert records.find("engine") is None


def test_a_recycled_process_id_is_somebody_else(url: str, home: Path) -> None:
    record = msgspec.structs.replace(records.write("engine", url), started=1.0)
    (home / "run" / "engine.json").write_bytes(msgspec.json.encode(record))
    assert records.find("engine") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"name":"engine"}',
        b'{"name":"engine","url":"x","pid":-5,"started":9e99,"version":"1"}',
        b'{"name":"engine","url":"http://[","pid":1,"started":9e99,"version":"1"}',
    ],
)
def test_a_damaged_record_is_none(content: bytes, home: Path) -> None:
    (home / "run").mkdir()
    (home / "run" / "engine.json").write_bytes(content)
    assert records.find("engine") is None


def test_the_record_of_a_successor_stays(url: str) -> None:
    first = records.write("engine", url)
    second = records.write("engine", url)
    records.remove(first)
    assert records.find("engine") == second


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104 - compared, not bound
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_the_url_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert records.url_of(host, 8000) == url
