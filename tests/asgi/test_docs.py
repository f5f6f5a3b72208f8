from __future__ import annotations

import re
from importlib.resources import files

import httpx
import pytest
from tests.conftest import LiveApp

BUILT = (files("maloca.asgi") / "swagger" / "swagger-ui-bundle.js").is_file()


@pytest.fixture(params=["live_engine", "live_server"])
def live(request: pytest.FixtureRequest) -> LiveApp:
    live: LiveApp = request.getfixturevalue(request.param)
    return live


def test_the_page_loads_nothing_from_elsewhere(live: LiveApp) -> None:
    page = httpx.get(live.url + "/docs")
    assert page.status_code == 200
    assert live.app.title in page.text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert linked
    assert not [link for link in linked if "//" in link]
    # A page's policy allows no script inside it.
    assert "<script>" not in page.text


def test_everything_the_page_links_to_is_there_or_says_how_to_get_it(live: LiveApp) -> None:
    for link in re.findall(r'(?:src|href)="([^"]+)"', httpx.get(live.url + "/docs").text):
        if link.startswith("data:"):
            continue
        answer = httpx.get(f"{live.url}/{link}")
        if answer.status_code == 404:
            assert not BUILT
            assert "make up" in answer.json()["error"]["hint"]
        else:
            assert answer.status_code == 200


def test_the_description_names_every_route_of_the_dialect(live: LiveApp) -> None:
    description = httpx.get(live.url + "/openapi.json").json()
    assert {"/v1/models", "/v1/chat/completions", "/v1/embeddings"} <= set(description["paths"])


@pytest.mark.parametrize("name", ["nothing.js", "..%2f..%2fapp.py", "%2e%2e", "swagger-ui.css%00"])
def test_nothing_else_is_served(live: LiveApp, name: str) -> None:
    answer = httpx.get(f"{live.url}/docs/{name}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "code", "param", "hint"}
