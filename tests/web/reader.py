"""A person in front of the page: what they do, and what they must never meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

# A refused request is the browser's own note, not the page's mistake; scripts ask for refusals.
NOTE = "Failed to load resource"


class Reader:
    """A browser context of its own with the page open.

    At the end nothing may have been written to the console as an error, no exception may have
    been left uncaught, and no request may have gone anywhere but to the server.
    """

    Opener: TypeAlias = Callable[..., Awaitable["Reader"]]

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.troubles: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.troubles.append(f"uncaught: {error}"))
        context.on("request", lambda request: self.requests.append(request.url))

    @classmethod
    async def enter(cls, browser: Browser, url: str, **options: Any) -> Reader:
        """Open the page. Options are those of a browser context; `locale` is en-US unless told."""
        settings = {"locale": "en-US", "viewport": {"width": 1100, "height": 800}, **options}
        context = await browser.new_context(**settings)
        context.set_default_timeout(15_000)
        reader = cls(context, await context.new_page(), url)
        await reader.page.goto(url)
        await expect(reader.composer).to_be_visible()
        return reader

    async def leave(self) -> None:
        """Close the page and tell what went wrong in it."""
        await self.context.close()
        home = urlsplit(self.url).netloc
        elsewhere = [
            url
            for url in self.requests
            if urlsplit(url).scheme in {"http", "https", "ws", "wss"}
            and urlsplit(url).netloc != home
        ]
        # Told in full, because pytest does not look into the assertions of a helper.
        wrong = [*(f"asked another host: {url}" for url in elsewhere), *self.troubles]
        if wrong:
            pytest.fail("The page misbehaved:\n" + "\n".join(wrong))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(NOTE):
            self.troubles.append(f"console: {message.text}")

    @property
    def composer(self) -> Locator:
        """The message box."""
        return self.page.locator("#composer")

    @property
    def log(self) -> Locator:
        """The conversation."""
        return self.page.get_by_role("log")

    @property
    def answer(self) -> Locator:
        """The last answer's text."""
        return self.page.locator(".prose").last

    async def say(self, text: str) -> None:
        """Write a message and send it with Enter."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def finished(self) -> None:
        """Wait until nothing is being answered."""
        await expect(self.log).to_have_attribute("aria-busy", "false")

    async def ask(self, text: str) -> str:
        """Send a message, wait for the end of its answer, return the answer as shown."""
        await self.say(text)
        await expect(self.page.get_by_role("button", name="Answer again")).to_be_visible()
        return await self.answer.inner_text()

    async def until(self, expression: str) -> None:
        """Wait until a JavaScript expression holds; fail after fifteen seconds.

        Playwright's own wait evaluates inside the page, which its policy rightly forbids.
        """
        try:
            async with asyncio.timeout(15):
                # Nothing tells us when the page changes, so it is asked again and again.
                while not await self.page.evaluate(expression):  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"This never came true in the page: {expression}")

    def button(self, name: str) -> Locator:
        """The button with exactly that name."""
        return self.page.get_by_role("button", name=name, exact=True)
