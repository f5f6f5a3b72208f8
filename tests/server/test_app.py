from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.conftest import LiveApp, engine_settings, fake_store, serve

from maloca.engine.app import create_app as create_engine
from maloca.server.app import create_app as create_server
from maloca.server.settings import ServerSettings

pytestmark = pytest.mark.process

HOLA = [{"role": "user", "content": "hola"}]
NOWHERE = "http://127.0.0.1:1"


def server_of(engine_url: str) -> LiveApp:
    return create_server(ServerSettings.load(port=0, engine_url=engine_url))


@pytest.fixture
def alone() -> Iterator[LiveApp]:
    """Serve the server without its engine."""
    with serve(server_of(NOWHERE)) as live:
        yield live


def test_with_its_engine_all_is_well(live_server: LiveApp) -> None:
    health = httpx.get(live_server.url + "/health").json()
    assert health["status"] == "ok"
    assert (health["engine"]["status"], health["engine"]["model"]) == ("ready", "fake")
    assert httpx.get(live_server.url + "/health/live").json() == {"status": "ok"}
    assert httpx.get(live_server.url + "/health/ready").status_code == 200


def test_without_its_engine_the_server_is_up_and_says_so(alone: LiveApp) -> None:
    response = httpx.get(alone.url + "/health")
    health = response.json()
    assert (response.status_code, health["status"]) == (200, "degraded")
    assert health["engine"]["status"] == "down"
    assert NOWHERE in health["engine"]["message"]
    assert httpx.get(alone.url + "/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("POST", "/v1/chat/completions", {"model": "default", "messages": HOLA}),
        ("POST", "/v1/chat/completions", {"model": "default", "messages": HOLA, "stream": True}),
        ("POST", "/v1/embeddings", {"model": "embedding", "input": "a"}),
        ("POST", "/chats/stream", {"messages": HOLA}),
    ],
)
def test_without_its_engine_every_route_says_what_to_do(
    alone: LiveApp, method: str, path: str, body: object
) -> None:
    response = httpx.request(method, alone.url + path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "engine_unreachable")
    assert "maloca up" in error["hint"]
    assert int(response.headers["retry-after"]) >= 1


def test_an_engine_that_comes_back_is_used_again(tmp_path: Path) -> None:
    app = create_engine(engine_settings(fake_store(tmp_path).path))
    with serve(app) as engine:
        url, port = engine.url, int(engine.url.rpartition(":")[2])
        with serve(server_of(url)) as server:
            chat = {"model": "default", "messages": HOLA}
            path = server.url + "/v1/chat/completions"
            assert httpx.post(path, json=chat).status_code == 200
            engine.stop()
            assert httpx.post(path, json=chat).status_code == 503
            assert httpx.get(server.url + "/health").json()["status"] == "degraded"
            again = create_engine(engine_settings(tmp_path))
            with serve(again, port=port):
                assert httpx.post(path, json=chat).status_code == 200
                assert httpx.get(server.url + "/health").json()["status"] == "ok"


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"status": 5, "model": "x"}', b""])
def test_something_else_in_the_engines_place_is_no_engine(body: bytes) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body)

    settings = ServerSettings.load(port=0, engine_url=NOWHERE)
    with serve(create_server(settings, transport=httpx.MockTransport(handle))) as live:
        response = httpx.get(live.url + "/health")
        assert (response.status_code, response.json()["engine"]["status"]) == (200, "down")


@pytest.mark.parametrize("status", ["loading", "ready", "failed", "no_model", "stopped"])
def test_the_engines_state_is_passed_on(status: str) -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"status": status, "model": "m", "message": "why"})

    settings = ServerSettings.load(port=0, engine_url=NOWHERE)
    with serve(create_server(settings, transport=httpx.MockTransport(handle))) as live:
        health = httpx.get(live.url + "/health").json()
    expected = status if status in {"loading", "ready"} else "down"
    assert health["engine"] == {"status": expected, "model": "m", "message": "why"}
    assert health["status"] == ("ok" if status == "ready" else "degraded")


def test_a_server_that_stops_is_not_ready(alone: LiveApp) -> None:
    alone.app.state.draining = True
    response = httpx.get(alone.url + "/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "stopping")


def test_strangers_hosts_are_refused(live_server: LiveApp) -> None:
    response = httpx.get(live_server.url + "/health", headers={"Host": "evil.com"})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "host_not_allowed")
