"""Chromium, the built page, and a server that follows a script."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, Playwright, async_playwright, expect
from tests.conftest import serve
from tests.web.reader import Reader
from tests.web.scripted_server import Script, create_app

from maloca.server.page import page_folder

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A busy machine of two cores needs more than the usual five seconds now and then.
expect.set_options(timeout=15_000)


def unavailable(reason: str) -> None:
    """Skip with the reason; under CI fail, because there everything must have run."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} With CI=true the browser tests must run.")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def page_dir() -> Path:
    """Return the folder of the built page."""
    folder = page_folder()
    if folder is None:
        unavailable("The page is not built: run `npm ci && npm run build` in web/.")
    assert folder is not None
    return folder


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the source of axe-core."""
    path = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
    if not path.is_file():
        unavailable("axe-core is not installed: run `npm ci` in web/.")
    return path.read_text(encoding="utf-8")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Return a running Chromium: MALOCA_CHROMIUM, else the system's, else Playwright's."""
    async with async_playwright() as playwright:
        browser = await _launch(playwright)
        yield browser
        await browser.close()


async def _launch(playwright: Playwright) -> Browser:
    chosen = os.environ.get("MALOCA_CHROMIUM")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        return await playwright.chromium.launch(executable_path=chosen or found, args=FLAGS)
    except Error as error:
        unavailable(f"Chromium does not start ({str(error).splitlines()[0]}).")
        raise


@pytest.fixture(scope="session")
def _scripted(page_dir: Path) -> Iterator[tuple[Script, str]]:
    script = Script()
    with serve(create_app(script, page_dir)) as live:
        yield script, live.url


@pytest.fixture
def script(_scripted: tuple[Script, str]) -> Script:
    """Return the script that the server follows in this test."""
    script, _ = _scripted
    script.reset()
    return script


@pytest.fixture
def site(script: Script, _scripted: tuple[Script, str]) -> str:
    """Return the URL of the scripted server."""
    assert script is _scripted[0]
    return _scripted[1]


@pytest_asyncio.fixture(loop_scope="session")
async def open_reader(browser: Browser) -> AsyncIterator[Reader.Opener]:
    """Return a way to open the page as a new reader; every one of them is checked at the end."""
    readers: list[Reader] = []

    async def open_at(url: str, **options: object) -> Reader:
        reader = await Reader.enter(browser, url, **options)
        readers.append(reader)
        return reader

    yield open_at
    for reader in readers:
        await reader.leave()


@pytest_asyncio.fixture(loop_scope="session")
async def reader(site: str, open_reader: Reader.Opener) -> Reader:
    """Return an English reader in front of the scripted server's page."""
    return await open_reader(site)
