"""For everyone: axe finds nothing, the keyboard reaches all, a screen reader hears what matters."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.web.reader import Reader
from tests.web.scripted_server import Reply, Script, error, listed
from tests.web.test_look import RICH

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# The next press of Tab goes to the first thing of the page.
TO_START = "document.body.tabIndex = -1; document.body.focus()"
NAMES = {
    "en-US": {"settings": "Settings", "new": "New chat", "keys": "Keyboard shortcuts"},
    "es-CO": {"settings": "Ajustes", "new": "Nueva conversación", "keys": "Atajos de teclado"},
}


@pytest.mark.parametrize("locale", ["en-US", "es-CO"])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing(
    site: str, script: Script, open_reader: Reader.Opener, axe: str, theme: str, locale: str
) -> None:
    # Reduced motion ends transitions at once, so that axe sees final colours.
    reader = await open_reader(site, color_scheme=theme, locale=locale, reduced_motion="reduce")
    names = NAMES[locale]
    page = reader.page

    async def clean(state: str) -> None:
        await page.evaluate(axe)
        found = await page.evaluate("axe.run(document)")
        told = [
            f"{v['id']}: {node['html']} {node['failureSummary']}"
            for v in found["violations"]
            for node in v["nodes"]
        ]
        assert told == [], state

    await clean("empty")
    script.models.append(listed("qwen", model="qwen"))
    await page.reload()
    script.answer(
        Reply(RICH), Reply("corta", finish_reason="length", tokens=1024), Reply("medio", hold=True)
    )
    await reader.say("hola")
    await reader.finished()
    await clean("answer")
    await reader.say("otra")
    await reader.finished()
    await reader.say("otra más")
    await expect(reader.answer).to_have_text("medio")
    await clean("live")
    await page.keyboard.press("Escape")
    await reader.finished()
    await clean("stopped")
    await reader.composer.press("ArrowUp")
    await clean("editing")
    await page.keyboard.press("Escape")

    script.engine = "down"
    script.answer(Reply(refuse=(503, error("unavailable"))))
    await reader.say("¿hay alguien?")
    await reader.finished()
    await expect(page.locator(".waits")).to_be_visible()
    await clean("down")
    script.engine = "loading"
    await expect(page.locator(".waits strong")).not_to_have_text("The engine is not running.")
    await clean("loading")
    script.engine = "ready"
    await expect(page.locator(".well")).to_be_visible()
    await clean("back")

    await reader.button(names["settings"]).click()
    await clean("settings")
    await reader.button(names["keys"]).click()
    await clean("keys")
    await page.keyboard.press("Escape")
    await reader.button(names["new"]).click()
    await clean("undo")


async def test_the_keyboard_alone_is_enough(reader: Reader, script: Script) -> None:
    page = reader.page
    press = page.keyboard.press
    script.answer(Reply("uno"), Reply("dos"), Reply("tres"))
    await expect(reader.composer).to_be_focused()
    await page.keyboard.type("primera")
    await press("Shift+Enter")
    await page.keyboard.type("línea dos")
    await press("Enter")
    await expect(reader.answer).to_have_text("uno")
    assert script.requests[0]["messages"][0]["content"] == "primera\nlínea dos"

    await expect(reader.composer).to_be_focused()
    await press("Shift+Tab")
    await expect(reader.button("Answer again")).to_be_focused()
    await press("Enter")
    await expect(reader.answer).to_have_text("dos")

    await press("/")
    await expect(reader.composer).to_be_focused()
    await press("ArrowUp")
    editor = page.get_by_role("textbox", name="Edit your message")
    await expect(editor).to_be_focused()
    await press("End")
    await page.keyboard.type("!")
    await press("Enter")
    await expect(reader.answer).to_have_text("tres")

    await reader.composer.blur()
    await press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    await expect(dialog).to_be_visible()
    await press("Escape")
    await expect(dialog).to_have_count(0)


async def test_the_first_tab_stop_leads_past_the_header(reader: Reader) -> None:
    await reader.page.evaluate(TO_START)
    await reader.page.keyboard.press("Tab")
    skip = reader.page.get_by_role("link", name="Skip to the message box")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await reader.page.keyboard.press("Enter")
    await expect(reader.composer).to_be_focused()


async def test_focus_can_be_seen_wherever_it_is(reader: Reader, script: Script) -> None:
    script.answer(Reply(RICH))
    await reader.ask("hola")
    page = reader.page
    await page.evaluate(TO_START)
    seen = set()
    for _ in range(30):
        await page.keyboard.press("Tab")
        name, outline = await page.evaluate(
            """() => {
              const e = document.activeElement;
              if (e === document.body) return ["body", true];
              const frame = e.id === "composer" ? e.form : e;
              const style = getComputedStyle(frame);
              const visible = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
              return [e.id || e.ariaLabel || e.textContent.trim() || e.localName, visible];
            }"""
        )
        if name == "body":
            break
        assert outline, name
        seen.add(name)
    assert {"composer", "New chat", "Copy code", "Copy answer", "python", "Table"} <= seen


async def test_single_keys_can_be_switched_off(reader: Reader, script: Script) -> None:
    page = reader.page
    await reader.ask("hola")
    await reader.composer.blur()
    await page.keyboard.press("?")
    await page.get_by_role("switch", name="Single-key shortcuts").click()
    await page.keyboard.press("Escape")
    await page.reload()
    await reader.composer.blur()
    for key in ("?", "/"):
        await page.keyboard.press(key)
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(reader.composer).not_to_be_focused()
    await reader.composer.press("ArrowUp")
    await expect(page.get_by_role("textbox", name="Edit your message")).to_have_count(0)
    script.answer(Reply("A medias", hold=True))
    await reader.say("sigue")
    await expect(reader.answer).to_have_text("A medias")
    await page.keyboard.press("Escape")
    await expect(reader.log).to_contain_text("You stopped this answer.")


async def test_shortcuts_stay_out_of_what_is_typed(reader: Reader) -> None:
    await reader.composer.press_sequentially("¿a/b?")
    await expect(reader.composer).to_have_value("¿a/b?")
    await expect(reader.page.get_by_role("dialog")).to_have_count(0)


async def test_an_input_method_s_enter_does_not_send(reader: Reader, script: Script) -> None:
    await reader.composer.fill("にほ")
    await reader.composer.dispatch_event(
        "keydown", {"key": "Enter", "bubbles": True, "isComposing": True}
    )
    await expect(reader.composer).to_have_value("にほ")
    assert script.requests == []


async def test_finished_answers_are_announced_and_tokens_are_not(
    reader: Reader, script: Script
) -> None:
    spoken = reader.page.locator("body > #app > [role=status]")
    await expect(reader.log).to_have_attribute("aria-live", "off")
    await expect(reader.log).to_have_accessible_name("Conversation")
    script.answer(Reply("Una **casa** grande", hold=True))
    await reader.say("hola")
    await expect(reader.answer).to_have_text("Una casa grande")
    await expect(spoken).to_be_empty()
    await reader.page.keyboard.press("Escape")
    await expect(spoken).to_have_text("The answer was stopped.")
    script.answer(Reply("## Título\n\nUna **casa** [grande](https://ok.example)."))
    await reader.ask("otra")
    await expect(spoken).to_have_text("Maloca answered: Título Una casa grande.")
    script.answer(Reply(refuse=(503, error("unavailable"))))
    await reader.say("otra más")
    await expect(spoken).to_contain_text("The answer failed: The engine cannot answer")
