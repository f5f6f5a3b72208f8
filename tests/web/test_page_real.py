"""The page in front of the real server and engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import expect
from tests.conftest import LiveApp, engine_settings, fake_store, serve
from tests.web.reader import Reader

from maloca.engine.app import create_app as create_engine
from maloca.server.app import create_app as create_server
from maloca.server.settings import ServerSettings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("page_dir"),
]


def scripted(**script: object) -> str:
    """Return a message that tells the fake runtime what to do."""
    return "#fake " + json.dumps(script)


async def test_streams_stops_and_goes_on(live_server: LiveApp, open_reader: Reader.Opener) -> None:
    reader = await open_reader(live_server.url)
    await reader.say(scripted(reply="Una **casa** grande\n\n```python\nprint('ñ')\n```"))
    await expect(reader.answer.locator("strong")).to_have_text("casa")
    await expect(reader.answer.locator(".hljs-string")).to_have_text("'ñ'")
    facts = reader.page.get_by_role("list", name="About this answer")
    await expect(facts).to_contain_text("fake")
    await expect(facts).to_contain_text("tokens/s")
    await expect(facts).to_contain_text("first token in")

    await reader.say(scripted(reply="muy despacio " * 100, delay_ms=20))
    await expect(reader.answer).to_contain_text("muy")
    await reader.page.keyboard.press("Escape")
    await expect(reader.log).to_contain_text("You stopped this answer.")
    await reader.ask(scripted(reply="sigo aquí"))
    await expect(reader.answer).to_have_text("sigo aquí")
    await reader.button("Answer again").click()
    await expect(reader.button("Answer again")).to_be_visible()
    await expect(reader.answer).to_have_text("sigo aquí")


async def test_a_crashed_worker_is_told_and_returns(
    live_server: LiveApp, open_reader: Reader.Opener
) -> None:
    reader = await open_reader(live_server.url)
    await reader.say(scripted(reply="hasta ahi y no mas", after=9, then="crash"))
    await expect(reader.log).to_contain_text("The model stopped in the middle of its work.")
    await expect(reader.answer).to_have_text("hasta ahi")
    await reader.ask(scripted(reply="de vuelta"))
    await expect(reader.answer).to_have_text("de vuelta")


async def test_an_answer_longer_than_the_context_takes_what_room_there_is(
    open_reader: Reader.Opener, tmp_path: Path
) -> None:
    store = fake_store(tmp_path / "models", context_length=400)
    with (
        serve(create_engine(engine_settings(store.path))) as engine,
        serve(create_server(ServerSettings.load(port=0, engine_url=engine.url))) as server,
    ):
        reader = await open_reader(server.url)
        await reader.ask(scripted(reply="palabra " * 25))
        await expect(reader.log).to_contain_text("has filled all that this model can hold")
        await reader.say("x" * 700)
        await expect(reader.log).to_contain_text("has become too long for this model")


async def test_the_engine_stops_and_starts_again(
    open_reader: Reader.Opener, tmp_path: Path
) -> None:
    settings = engine_settings(fake_store(tmp_path / "models").path)
    with serve(create_engine(settings)) as engine:
        url = engine.url
    port = int(url.rsplit(":", 1)[1])
    with serve(create_server(ServerSettings.load(port=0, engine_url=url))) as server:
        reader = await open_reader(server.url)
        await expect(reader.page.get_by_text("The engine is not running.")).to_be_visible()
        question = scripted(reply="de vuelta")
        await reader.say(question)
        await expect(reader.log).to_contain_text("The engine cannot answer at the moment.")
        await reader.composer.fill("un borrador")
        with serve(create_engine(settings), port=port):
            await expect(reader.page.get_by_text("The engine is back.", exact=True)).to_be_visible()
            await reader.button("Try again").click()
            await expect(reader.answer).to_have_text("de vuelta")
            await expect(reader.composer).to_have_value("un borrador")


@pytest.mark.real
async def test_a_real_model_answers(real_server: LiveApp, open_reader: Reader.Opener) -> None:
    reader = await open_reader(real_server.url)
    await expect(reader.page.locator("header")).to_contain_text("smollm2", timeout=60_000)
    await reader.say("Write one sentence about a river.")
    await expect(reader.button("Answer again")).to_be_visible(timeout=90_000)
    assert len(await reader.answer.inner_text()) > 20
    await expect(reader.page.get_by_role("list", name="About this answer")).to_contain_text(
        "tokens/s"
    )
