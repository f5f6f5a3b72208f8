from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.conftest import LiveApp, serve

from maloca.server import page
from maloca.server.app import create_app
from maloca.server.settings import ServerSettings

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a small built page with something beside it that is nobody's business."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Maloca</title>")
    (folder / "assets" / "app-1234.js").write_text("1;")
    (folder / "icon.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def live(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveApp]:
    monkeypatch.setattr(page, "page_folder", lambda: folder)
    with serve(create_app(ServerSettings.load(port=0, engine_url="http://127.0.0.1:1"))) as live:
        yield live


def test_the_page_is_served_fresh_and_its_parts_for_ever(live: LiveApp) -> None:
    index = httpx.get(live.url + "/")
    assert (index.status_code, index.headers["cache-control"]) == (200, "no-cache")
    assert index.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in index.headers["content-security-policy"]
    script = httpx.get(live.url + "/assets/app-1234.js")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")
    icon = httpx.get(live.url + "/icon.svg")
    assert (icon.headers["cache-control"], icon.headers["content-type"]) == (
        "no-cache",
        "image/svg+xml",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/../../secret.txt",
        "//etc/passwd",
        "/assets",
        "/assets/",
        "/index.html%00",
        "/v1/nothing",
        "/api/llm/health",
    ],
)
def test_nothing_else_is_served(live: LiveApp, path: str) -> None:
    host, port = live.url.removeprefix("http://").split(":")
    with httpx.Client() as client:
        request = client.build_request("GET", live.url)
        request.url = httpx.URL(scheme="http", host=host, port=int(port), raw_path=path.encode())
        response = client.send(request)
    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "code", "param", "hint"}
    assert "secret" not in response.text.replace("secret.txt", "")


def test_a_page_that_was_not_built_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "page_folder", lambda: None)
    app = create_app(ServerSettings.load(port=0, engine_url="http://127.0.0.1:1"))
    with serve(app) as live:
        response = httpx.get(live.url + "/")
        assert response.status_code == 503
        assert "make up" in response.text
        assert httpx.get(live.url + "/assets/app.js").status_code == 404
        assert httpx.get(live.url + "/health").status_code == 200
