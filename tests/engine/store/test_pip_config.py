"""Following pip's own configuration, and reading the pages of an index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maloca.engine.store.sources.pip_config import PipConfig, parse_config_list, read_pip_config
from maloca.engine.store.sources.simple_index import Link, read_page
from maloca.engine.store.sources.web import FetchFailed, Web, redact, with_credentials

PAGE = "https://u:p@index.example/simple/tiny/"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def test_without_configuration_it_is_the_public_index() -> None:
    [index] = read_pip_config().indexes
    assert index.startswith("https://")
    assert index.endswith("/simple")


def test_without_pip_and_without_a_variable_there_is_no_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    assert read_pip_config() == PipConfig()


def test_the_file_and_the_variables_are_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a/simple\nfind-links =\n  /x\n  /y\ncert = /ca.pem\n"
        "[install]\nindex-url = https://b/simple\ntrusted-host = c d:8\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://e/simple file:///f")
    monkeypatch.setenv("PIP_PROXY", "http://proxy:3128")
    assert read_pip_config() == PipConfig(
        indexes=("https://b/simple", "https://e/simple", "file:///f"),
        find_links=("/x", "/y"),
        cert="/ca.pem",
        proxy="http://proxy:3128",
        trusted_hosts=("c", "d:8"),
    )


def test_without_pip_the_variables_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://a/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/x /y")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/ca.pem")
    assert read_pip_config() == PipConfig(
        indexes=("https://a/simple",), find_links=("/x", "/y"), cert="/ca.pem"
    )


@pytest.mark.parametrize(("value", "indexes"), [("true", 0), ("1", 0), ("false", 1), ("0", 1)])
def test_no_index_means_none(monkeypatch: pytest.MonkeyPatch, value: str, indexes: int) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", value)
    assert len(read_pip_config().indexes) == indexes


def test_strange_lines_of_pip_are_skipped() -> None:
    answer = "nonsense\nglobal.index-url='https://a'\nglobal.cert=not a literal\nx='y'\n"
    assert parse_config_list(answer) == {"index-url": "https://a"}


def test_an_html_page_is_read() -> None:
    html = (
        b'<html><a href="https://cdn.example/t-1.whl#sha256=ABC&x=1">t</a><a>no</a>'
        b'<a href="../../f/t%2B1.whl">t</a><a href="http://[bad/x.whl">t</a></html>'
    )
    assert read_page(html, "text/html", PAGE) == [
        Link("t-1.whl", "https://cdn.example/t-1.whl", "abc"),
        Link("t+1.whl", "https://u:p@index.example/f/t%2B1.whl", None),
    ]


def test_a_json_page_is_read() -> None:
    page = b'{"files": [{"filename": "t.whl", "url": "t.whl", "hashes": {"sha256": "ab"}}]}'
    kind = "application/vnd.pypi.simple.v1+json"
    assert read_page(page, kind, PAGE) == [Link("t.whl", f"{PAGE}t.whl", "ab")]


@pytest.mark.parametrize("page", [b"", b"[]", b'{"files": [1]}', b'{"files":' + b"[" * 9999])
def test_a_bad_json_page_is_a_value_error(page: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_page(page, "application/json", PAGE)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ana:s%40creto@h:8/x?y#z", "https://h:8/x?y#z"),
        ("https://token@h/x", "https://h/x"),
        ("https://h/x@1", "https://h/x@1"),
        ("/a/folder", "/a/folder"),
    ],
)
def test_credentials_are_never_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/f", "https://u:p@h/f"),
        ("https://v:q@h/f", "https://v:q@h/f"),
        ("https://other/f", "https://other/f"),
        ("http://h/f", "http://h/f"),
        ("https://h:444/f", "https://h:444/f"),
    ],
)
def test_credentials_stay_with_their_origin(url: str, expected: str) -> None:
    assert with_credentials(url, "https://u:p@h/simple/") == expected


@pytest.mark.parametrize(
    "config",
    [PipConfig(cert="/no/such/ca.pem"), PipConfig(proxy="nonsense://x")],
    ids=["cert", "proxy"],
)
def test_a_bad_pip_setting_is_named(config: PipConfig) -> None:
    with (
        Web(config) as web,
        pytest.raises(FetchFailed, match="cert, client-cert or proxy"),
        web.get("https://127.0.0.1:1/", {}),
    ):
        pass
