from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI
from tests.conftest import LiveApp
from tests.dialects.wire import ROUTES

Route = tuple[httpx.Client, str, dict[str, object]]


@pytest.fixture(scope="module")
def engine(live_engine: LiveApp) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_engine.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def server(live_server: LiveApp) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_server.url, timeout=60) as client:
        yield client


@pytest.fixture(params=ROUTES, ids=" ".join)
def route(request: pytest.FixtureRequest, engine: httpx.Client, server: httpx.Client) -> Route:
    service, path = request.param
    client = engine if service == "live_engine" else server
    return client, path, dict(ROUTES[request.param])


@pytest.fixture(params=["live_engine", "live_server"])
def live(request: pytest.FixtureRequest) -> LiveApp:
    live: LiveApp = request.getfixturevalue(request.param)
    return live


@pytest.fixture
def client(live: LiveApp) -> Iterator[OpenAI]:
    with OpenAI(base_url=live.url + "/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client
