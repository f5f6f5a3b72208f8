"""Talking: an answer streams, can be stopped, repeated, changed and kept."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.web.reader import Reader
from tests.web.scripted_server import Reply, Script, error, listed

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_streams_an_answer_and_tells_who_answered(reader: Reader, script: Script) -> None:
    script.answer(Reply("El río es **largo**.", pieces=None))
    await reader.say("¿Cómo es el río?")
    await expect(reader.answer).to_have_text("El río es largo.")
    await expect(reader.answer.locator("strong")).to_have_text("largo")
    facts = reader.page.get_by_role("list", name="About this answer").get_by_role("listitem")
    await expect(facts).to_have_text(
        ["scripted-1b", "86.4 tokens/s", "first token in 55 ms", "42 tokens"]
    )
    assert script.requests == [
        {
            "messages": [{"role": "user", "content": "¿Cómo es el río?"}],
            "model": "default",
            "temperature": 0.35,
            "max_new_tokens": 1024,
        }
    ]


async def test_shows_text_while_it_arrives(reader: Reader, script: Script) -> None:
    script.answer(Reply("Todavía", hold=True))
    await reader.say("hola")
    await expect(reader.answer).to_have_text("Todavía")
    await expect(reader.log).to_have_attribute("aria-busy", "true")
    await expect(reader.button("Send")).to_have_count(0)


@pytest.mark.parametrize("way", ["Escape", "button"])
async def test_stop_closes_the_connection_and_keeps_the_text(
    reader: Reader, script: Script, way: str
) -> None:
    script.answer(Reply("A medias", hold=True))
    await reader.say(f"detente con {way}")
    await expect(reader.answer).to_have_text("A medias")
    if way == "button":
        await reader.button("Stop").click()
    else:
        await reader.page.keyboard.press("Escape")
    await expect(reader.page.get_by_text("You stopped this answer.")).to_be_visible()
    await expect(reader.answer).to_have_text("A medias")
    await script.until(lambda: f"detente con {way}" in script.closed)
    await reader.ask("¿sigues?")
    assert [m["role"] for m in script.requests[-1]["messages"]] == ["user", "assistant", "user"]


async def test_stop_before_the_first_word_gives_the_question_back(
    reader: Reader, script: Script
) -> None:
    script.answer(Reply("", hold=True))
    await reader.say("una pregunta larga")
    await expect(reader.page.get_by_text("One moment…")).to_be_visible()
    await reader.page.keyboard.press("Escape")
    await expect(reader.composer).to_have_value("una pregunta larga")
    await expect(reader.page.get_by_role("heading", level=2)).to_have_text(
        "Come in, make yourself at home."
    )


async def test_answers_again_with_the_same_conversation(reader: Reader, script: Script) -> None:
    script.answer(Reply("uno"), Reply("dos"))
    assert await reader.ask("hola") == "uno"
    await reader.button("Answer again").click()
    await expect(reader.answer).to_have_text("dos")
    await expect(reader.log).not_to_contain_text("uno")
    assert script.requests[0]["messages"] == script.requests[1]["messages"]


async def test_keeps_the_old_answer_when_a_new_one_never_begins(
    reader: Reader, script: Script
) -> None:
    script.answer(Reply("uno"), Reply(refuse=(429, error("overloaded", retry_after=3.2))))
    await reader.ask("hola")
    await reader.button("Answer again").click()
    await expect(reader.log).to_contain_text(
        "Many people are asking at the moment. Try again in 4 s."
    )
    await expect(reader.answer).to_have_text("uno")
    script.answer(Reply("dos"))
    await reader.button("Try again").click()
    await expect(reader.answer).to_have_text("dos")
    await expect(reader.button("Try again")).to_have_count(0)


async def test_edits_a_message_and_goes_on_from_there(reader: Reader, script: Script) -> None:
    script.answer(Reply("uno"), Reply("dos"), Reply("tres"))
    await reader.ask("primera")
    await reader.ask("segunda")
    await reader.page.get_by_text("primera").hover()
    await reader.button("Edit message").first.click()
    editor = reader.page.get_by_role("textbox", name="Edit your message")
    await expect(editor).to_be_focused()
    await expect(editor).to_have_value("primera")
    await expect(
        reader.page.get_by_text("What follows this message will be replaced.")
    ).to_be_visible()
    await editor.fill("otra primera")
    await editor.press("Enter")
    await expect(reader.answer).to_have_text("tres")
    await expect(reader.log).not_to_contain_text("segunda")
    assert script.requests[-1]["messages"] == [{"role": "user", "content": "otra primera"}]
    await reader.button("Undo").click()
    await expect(reader.log).to_contain_text("segunda")
    await expect(reader.log).not_to_contain_text("otra primera")


async def test_escape_leaves_a_message_as_it_was(reader: Reader, script: Script) -> None:
    script.answer(Reply("uno"))
    await reader.ask("primera")
    await reader.composer.press("ArrowUp")
    editor = reader.page.get_by_role("textbox", name="Edit your message")
    await editor.fill("cambiada")
    await editor.press("Escape")
    await expect(editor).to_have_count(0)
    await expect(reader.log).to_contain_text("primera")
    await expect(reader.composer).to_be_focused()
    assert len(script.requests) == 1


async def test_copies_answers_messages_and_code(reader: Reader, script: Script) -> None:
    await reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    source = "Mira:\n\n```python\nprint('casa')\n```\n\n- uno\n\n  ```sh\n  ls -a\n  ```"
    script.answer(Reply(source))
    await reader.ask("copia esto")
    copied = "navigator.clipboard.readText()"
    await reader.button("Copy code").first.click()
    assert await reader.page.evaluate(copied) == "print('casa')"
    await expect(reader.page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
    await reader.button("Copy code").last.click()
    assert (await reader.page.evaluate(copied)).rstrip("\n") == "ls -a"
    await reader.button("Copy answer").click()
    assert await reader.page.evaluate(copied) == source
    await reader.page.get_by_text("copia esto").hover()
    await reader.button("Copy message").click()
    assert await reader.page.evaluate(copied) == "copia esto"


async def test_copies_where_the_browser_hides_the_clipboard(reader: Reader, script: Script) -> None:
    await reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await reader.page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }"
    )
    script.answer(Reply("texto"))
    await reader.ask("hola")
    await reader.button("Copy answer").click()
    await expect(reader.page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
    assert await reader.page.evaluate("navigator.clipboard.readText()") == "texto"


async def test_a_new_chat_can_be_undone(reader: Reader, script: Script) -> None:
    script.answer(Reply("uno"))
    await reader.ask("hola")
    await reader.button("New chat").click()
    await expect(reader.log).to_be_empty()
    await expect(reader.composer).to_be_focused()
    await reader.button("Undo").click()
    await expect(reader.answer).to_have_text("uno")
    await reader.button("New chat").click()
    await reader.page.reload()
    await expect(reader.log).to_be_empty()


async def test_a_reload_keeps_conversation_and_draft(reader: Reader, script: Script) -> None:
    script.answer(Reply("Una **casa** grande"), Reply("dos"))
    await reader.ask("hola")
    await reader.composer.fill("un borrador\nde dos líneas")
    await reader.page.reload()
    await expect(reader.composer).to_have_value("un borrador\nde dos líneas")
    await expect(reader.answer.locator("strong")).to_have_text("casa")
    await expect(reader.page.get_by_text("first token in 55 ms")).to_be_visible()
    await reader.composer.press("Enter")
    await expect(reader.answer).to_have_text("dos")
    assert [m["content"] for m in script.requests[-1]["messages"]] == [
        "hola",
        "Una **casa** grande",
        "un borrador\nde dos líneas",
    ]


async def test_a_reload_in_the_middle_says_so(reader: Reader, script: Script) -> None:
    script.answer(Reply("A medias", hold=True))
    await reader.say("cierra")
    await expect(reader.answer).to_have_text("A medias")
    await reader.page.reload()
    await expect(reader.answer).to_have_text("A medias")
    await expect(reader.log).to_contain_text("The page was closed before this answer ended.")
    await script.until(lambda: "cierra" in script.closed)


async def test_a_damaged_store_is_no_reason_to_fail(reader: Reader) -> None:
    for damaged in ("{", "null", '{"messages": [1, {"role": "root"}]}', '{"messages": 7}'):
        await reader.page.evaluate(
            "(text) => ['chat', 'draft', 'settings'].forEach("
            "(name) => localStorage.setItem('maloca.' + name, text))",
            damaged,
        )
        # pagehide saves the present state, so the damage is done again before the page starts.
        await reader.page.add_init_script(f"localStorage.setItem('maloca.chat', {damaged!r})")
        await reader.page.reload()
        await expect(reader.composer).to_be_visible()
        await expect(reader.log).to_be_empty()


async def test_a_long_conversation_keeps_its_newest_part(reader: Reader, script: Script) -> None:
    script.default = Reply("x" * 600_000, pieces=2)
    for question in ("uno", "dos", "tres"):
        await reader.ask(question)
    await reader.page.reload()
    await expect(reader.log).to_contain_text("The oldest messages of this chat did not fit")
    await expect(reader.log).to_contain_text("tres")
    await expect(reader.log).not_to_contain_text("uno")


async def test_settings_go_with_the_request_and_stay(reader: Reader, script: Script) -> None:
    await reader.button("Settings").click()
    page = reader.page
    await page.get_by_label("Temperature").fill("1.2")
    await page.get_by_label("Longest answer, in tokens").fill("64")
    await page.get_by_label("Instructions for the model").fill("Sé breve.")
    await page.get_by_label("Longest answer, in tokens").fill("0")
    await expect(page.get_by_text("Write a whole number from 1 to 8,192.")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.reload()
    script.answer(Reply("ya", finish_reason="length", tokens=64))
    await reader.ask("hola")
    assert script.requests[-1] == {
        "messages": [
            {"role": "system", "content": "Sé breve."},
            {"role": "user", "content": "hola"},
        ],
        "model": "default",
        "temperature": 1.2,
        "max_new_tokens": 64,
    }
    await expect(reader.log).to_contain_text("It reached the limit of 64 tokens.")
    await reader.button("Change the limit").click()
    await reader.button("Back to the defaults").click()
    await expect(page.get_by_label("Longest answer, in tokens")).to_have_value("1024")


async def test_the_longest_answer_gives_way_to_a_full_context(
    reader: Reader, script: Script
) -> None:
    refused = error("context_length_exceeded", status=422, param="max_new_tokens")
    script.answer(Reply(refuse=(422, refused)), Reply("cabe", finish_reason="length", tokens=80))
    await reader.ask("hola")
    await expect(reader.answer).to_have_text("cabe")
    assert [r["max_new_tokens"] for r in script.requests] == [1024, None]
    await expect(reader.log).to_contain_text(
        "The conversation has filled all that this model can hold."
    )


async def test_offers_a_choice_only_where_there_is_one(reader: Reader, script: Script) -> None:
    picker = reader.page.get_by_label("Model", exact=True)
    await expect(picker).to_have_count(0)
    script.models.append(listed("qwen", model="qwen"))
    await reader.page.reload()
    await expect(picker.get_by_role("option")).to_have_text(["scripted-1b", "qwen"])
    await picker.select_option("qwen")
    await reader.ask("hola")
    assert script.requests[-1]["model"] == "qwen"
    script.models.pop()
    await reader.page.reload()
    await expect(picker).to_have_count(0)
    await reader.ask("hola")
    assert script.requests[-1]["model"] == "default"


async def test_an_example_starts_a_conversation(reader: Reader, script: Script) -> None:
    script.answer(Reply("Había una vez"))
    await reader.page.get_by_role("button", name="Tell me a short story").click()
    await expect(reader.answer).to_have_text("Había una vez")
    await expect(reader.composer).to_be_focused()


async def test_two_tabs_show_one_conversation(reader: Reader, script: Script) -> None:
    other = await reader.context.new_page()
    await other.goto(reader.url)
    script.answer(Reply("en ambas"))
    await reader.ask("hola")
    await expect(other.locator(".prose").last).to_have_text("en ambas")
