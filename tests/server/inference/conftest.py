from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import LiveApp, serve
from tests.server.inference.people import People

from maloca.server.app import create_app
from maloca.server.db import versions
from maloca.server.db.database import database_url
from maloca.server.settings import ServerSettings


class House:
    """A running server, its accounts, and a client of it."""

    def __init__(self, live: LiveApp, people: People) -> None:
        self.live = live
        self.url = live.url
        self.people = people
        self.client = httpx.Client(base_url=live.url, timeout=30)

    def post(self, path: str = "/predict", **options: Any) -> httpx.Response:
        """Send a body, by default a prompt."""
        body = {"prompt": "hola"} if path == "/predict" else {}
        return self.client.post(path, json=body | options.pop("json", {}), **options)

    def stop(self) -> None:
        """Stop the server, so that everything that waits is written."""
        self.live.stop()


Build = Callable[..., House]


@contextlib.contextmanager
def building(engine_url: str, url: str) -> Iterator[Build]:
    """Yield a function that starts a server on a database."""
    asyncio.run(versions.upgrade(database_url(url)))
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> House:
            wanted = {"engine_url": engine_url, "database_url": url}
            app = create_app(ServerSettings.load(port=0, **wanted | settings))
            house = House(stack.enter_context(serve(app)), People(url))
            stack.callback(house.client.close)
            return house

        yield start


@pytest.fixture
def build(live_engine: LiveApp, tmp_path: Path) -> Iterator[Build]:
    """Start servers on one SQLite file."""
    with building(live_engine.url, f"sqlite:///{tmp_path / 'maloca.db'}") as start:
        yield start


@pytest.fixture
def build_on_both(live_engine: LiveApp, empty_database_url: str) -> Iterator[Build]:
    """Start servers on one database: SQLite, and PostgreSQL."""
    with building(live_engine.url, empty_database_url) as start:
        yield start


@pytest.fixture(scope="module")
def house(live_engine: LiveApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server on SQLite for a whole module, in which nobody is limited and nobody lives."""
    url = f"sqlite:///{tmp_path_factory.mktemp('data') / 'maloca.db'}"
    asyncio.run(versions.upgrade(database_url(url)))
    settings = ServerSettings.load(
        port=0, engine_url=live_engine.url, database_url=url, rate_limit_requests=100_000
    )
    with serve(create_app(settings)) as live:
        found = House(live, People(url))
        yield found
        found.client.close()


def script(**what: Any) -> str:
    """Return a prompt that makes the fake model do what the script says."""
    return f"#fake {json.dumps(what)}"
