from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
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
