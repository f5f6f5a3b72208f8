"""Long answers: what is finished stays as it is, and the page follows only those who follow it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.web.reader import Reader
from tests.web.scripted_server import Reply, Script

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LONG = "\n\n".join(
    f"## Parte {n}\n\nUn párrafo con **negrita** y `código` sobre el río y la casa grande.\n\n"
    f"```python\nfor i in range({n}):\n    print('línea', i)\n```\n\n- uno\n- dos"
    for n in range(60)
)
REST = "document.documentElement.scrollHeight - innerHeight - scrollY"


async def test_finished_blocks_are_never_drawn_again(reader: Reader, script: Script) -> None:
    # Some 4,000 deltas, as a fast model sends them.
    script.answer(Reply(LONG, pieces=4000))
    await reader.say("cuéntame todo")
    first = reader.answer.locator("pre").first
    await expect(first.locator(".hljs-keyword").first).to_have_text("for")
    await reader.page.evaluate(
        """() => {
          window.redrawn = 0;
          const answer = document.querySelector(".prose");
          const kept = [...answer.querySelectorAll("h3, pre")].slice(0, 2);
          window.kept = kept;
          new MutationObserver((changes) => {
            for (const { target } of changes) {
              if (kept.some((element) => element.contains(target))) window.redrawn += 1;
            }
          }).observe(answer, { childList: true, characterData: true, subtree: true });
        }"""
    )
    await expect(reader.button("Answer again")).to_be_visible(timeout=60_000)
    await expect(reader.answer.locator("h3")).to_have_count(60)
    await expect(reader.answer.locator("pre")).to_have_count(60)
    assert await reader.page.evaluate("window.redrawn") == 0
    assert await reader.page.evaluate("window.kept.every((element) => element.isConnected)")


async def test_the_page_draws_at_most_once_a_frame(reader: Reader, script: Script) -> None:
    await reader.page.evaluate(
        """() => {
          window.frames = 0;
          window.draws = 0;
          const count = () => { window.frames += 1; requestAnimationFrame(count); };
          requestAnimationFrame(count);
          const log = document.querySelector("[role=log]");
          new MutationObserver(() => { window.draws += 1; })
            .observe(log, { childList: true, characterData: true, subtree: true });
        }"""
    )
    script.answer(Reply("palabra " * 1500, pieces=3000))
    await reader.ask("habla")
    counted = await reader.page.evaluate("({ frames: window.frames, draws: window.draws })")
    # A few more than frames: the question, the empty answer, the last piece and the facts below it.
    assert counted["draws"] <= counted["frames"] + 8


async def test_follows_the_end_until_the_reader_looks_back(reader: Reader, script: Script) -> None:
    page = reader.page
    script.answer(Reply(LONG, pieces=300, pause=0.01))
    await reader.say("cuéntame todo")
    await expect(reader.answer.locator("h3")).not_to_have_count(0)
    await reader.until("document.documentElement.scrollHeight > innerHeight * 3")
    await reader.until(f"{REST} < 48")
    await page.mouse.move(500, 300)
    await page.mouse.wheel(0, -600)
    latest = reader.button("Go to the latest message")
    await expect(latest).to_be_visible()
    place = await page.evaluate("scrollY")
    height = await page.evaluate("document.documentElement.scrollHeight")
    await reader.until(f"document.documentElement.scrollHeight > {height} + 200")
    assert await page.evaluate("scrollY") == place
    await latest.click()
    await reader.until(f"{REST} < 48")
    await expect(latest).to_have_count(0)
    await expect(reader.button("Answer again")).to_be_visible(timeout=30_000)
    await reader.until(f"{REST} < 48")


async def test_a_new_question_brings_the_reader_to_the_end(reader: Reader, script: Script) -> None:
    script.answer(Reply(LONG))
    await reader.ask("cuéntame todo")
    await reader.page.mouse.move(500, 300)
    await reader.page.mouse.wheel(0, -3000)
    await expect(reader.button("Go to the latest message")).to_be_visible()
    await reader.ask("¿y después?")
    await reader.until(f"{REST} < 48")


async def test_nothing_jumps_when_an_answer_ends(reader: Reader, script: Script) -> None:
    await reader.page.evaluate(
        """() => {
          window.shifts = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shifts += entry.value;
          }).observe({ type: "layout-shift", buffered: true });
        }"""
    )
    script.answer(Reply("Una frase.\n\n```python\nfor i in range(3): pass\n```\n\nFin."))
    await reader.ask("hola")
    assert await reader.page.evaluate("window.shifts") < 0.01
