"""How the page looks and speaks: light and dark, two languages, wide and narrow, on paper."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.web.reader import Reader
from tests.web.scripted_server import Reply, Script, error

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PAPER = "getComputedStyle(document.body).backgroundColor"
LIGHT = "rgb(250, 246, 238)"
DARK = "rgb(27, 39, 51)"
RICH = """# Título

Un párrafo con `código` y una_palabra_larguísima_que_no_tiene_dónde_partirse_y_sigue_y_sigue.

```python
print("una línea de código que es mucho más larga que la pantalla de cualquier teléfono")
```

| columna | otra columna | y otra más | y la última columna de todas |
|---------|--------------|------------|------------------------------|
| celda   | celda        | celda      | celda                        |

1. uno
   - dos
     - tres
       - cuatro
"""


@pytest.mark.parametrize(("system", "paper"), [("light", LIGHT), ("dark", DARK)])
async def test_follows_the_system_until_told(
    site: str, open_reader: Reader.Opener, system: str, paper: str
) -> None:
    reader = await open_reader(site, color_scheme=system)
    assert await reader.page.evaluate(PAPER) == paper
    other = "light" if system == "dark" else "dark"
    await reader.page.emulate_media(color_scheme=other)  # type: ignore[arg-type] # one of the two literals
    await reader.until(f"{PAPER} !== '{paper}'")
    await reader.button("Settings").click()
    await reader.page.get_by_role("radio", name="Light").check()
    await reader.until(f"{PAPER} === '{LIGHT}'")
    await reader.page.reload()
    assert await reader.page.evaluate(PAPER) == LIGHT
    await expect(reader.page.locator('meta[name="theme-color"]')).to_have_attribute(
        "content", "#faf6ee"
    )


async def test_the_button_switches_the_light_for_good(reader: Reader) -> None:
    await reader.button("Use dark colours").click()
    assert await reader.page.evaluate(PAPER) == DARK
    await reader.page.reload()
    assert await reader.page.evaluate(PAPER) == DARK
    await reader.button("Use light colours").click()
    assert await reader.page.evaluate(PAPER) == LIGHT


async def test_colours_and_language_are_right_before_the_page_starts(
    site: str, open_reader: Reader.Opener
) -> None:
    reader = await open_reader(site, color_scheme="dark", locale="es-CO")
    await reader.page.route("**/assets/*.js", lambda route: route.abort())
    await reader.page.reload()
    assert await reader.page.evaluate(PAPER) == DARK
    assert await reader.page.evaluate("document.documentElement.lang") == "es"
    reader.troubles.clear()


@pytest.mark.parametrize(
    ("locale", "lang", "greeting"),
    [
        ("es-CO", "es", "Pasa, estás en tu casa."),
        ("es", "es", "Pasa, estás en tu casa."),
        ("en-GB", "en", "Come in, make yourself at home."),
        ("pt-BR", "en", "Come in, make yourself at home."),
    ],
)
async def test_speaks_the_browser_s_language(
    site: str, open_reader: Reader.Opener, locale: str, lang: str, greeting: str
) -> None:
    reader = await open_reader(site, locale=locale)
    await expect(reader.page.get_by_text(greeting)).to_be_visible()
    await expect(reader.page.locator("html")).to_have_attribute("lang", lang)


async def test_switches_the_language_for_good(reader: Reader, script: Script) -> None:
    script.answer(Reply("Hecho.", tokens=1))
    await reader.ask("hola")
    await reader.button("Español").click()
    await expect(reader.page.locator("html")).to_have_attribute("lang", "es")
    await expect(reader.composer).to_have_attribute("placeholder", "Escribe un mensaje…")
    await expect(reader.log).to_contain_text("86,4 tokens/s")
    await expect(reader.log).to_contain_text("primer token en 55 ms")
    await expect(reader.log).to_contain_text("1 token")
    await reader.page.reload()
    await expect(reader.button("Nueva conversación")).to_be_visible()
    script.answer(Reply(refuse=(503, error("unavailable"))))
    await reader.say("¿sigues?")
    await expect(reader.log).to_contain_text("El motor no puede responder en este momento.")


async def test_fits_a_telephone(site: str, script: Script, open_reader: Reader.Opener) -> None:
    reader = await open_reader(
        site,
        viewport={"width": 375, "height": 667},
        has_touch=True,
        is_mobile=True,
        locale="es-CO",
    )
    page = reader.page

    async def fits() -> None:
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375
        await expect(reader.composer).to_be_in_viewport()

    await fits()
    script.answer(Reply(RICH), Reply(refuse=(503, error("unavailable"))))
    await reader.composer.fill("hola")
    # Here Enter is for new lines, as everywhere on a telephone.
    await reader.composer.press("Enter")
    assert script.requests == []
    await reader.composer.fill("x" * 300)
    await fits()
    await reader.button("Enviar").tap()
    await expect(reader.button("Responder de nuevo")).to_be_visible()
    await fits()
    script.engine = "down"
    await reader.composer.fill("¿y ahora?")
    await reader.button("Enviar").tap()
    await expect(page.get_by_text("El motor no está en marcha.")).to_be_visible()
    await fits()
    await page.get_by_role("button", name="Editar mensaje").last.tap()
    await fits()
    await page.keyboard.press("Escape")
    await reader.button("Ajustes").tap()
    box = await page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 375
    sizes = await page.locator("header button, footer button").evaluate_all(
        "(all) => all.map((e) => e.getBoundingClientRect()).map((r) => Math.min(r.width, r.height))"
    )
    assert min(sizes) >= 40


async def test_a_wide_page_keeps_a_readable_column(
    site: str, script: Script, open_reader: Reader.Opener
) -> None:
    reader = await open_reader(site, viewport={"width": 1920, "height": 900})
    script.answer(Reply("palabra " * 200))
    await reader.ask("hola")
    characters = await reader.answer.evaluate(
        """(answer) => {
          const probe = document.createElement("span");
          probe.textContent = "0".repeat(72);
          answer.append(probe);
          const wide = answer.getBoundingClientRect().width / probe.getBoundingClientRect().width;
          probe.remove();
          return wide * 72;
        }"""
    )
    assert 60 <= characters <= 72.5


async def test_nothing_moves_for_those_who_asked_for_stillness(
    site: str, script: Script, open_reader: Reader.Opener
) -> None:
    reader = await open_reader(site, reduced_motion="reduce")
    script.answer(Reply("A medias", hold=True))
    await reader.say("hola")
    await expect(reader.answer).to_have_text("A medias")
    assert await reader.page.evaluate("document.getAnimations().length") == 0
    await reader.page.emulate_media(reduced_motion="no-preference")
    await reader.until("document.getAnimations().length > 0")


async def test_prints_the_conversation_alone(reader: Reader, script: Script) -> None:
    script.answer(Reply("Una respuesta."))
    await reader.ask("una pregunta")
    await reader.page.emulate_media(media="print")
    await expect(reader.answer).to_be_visible()
    await expect(reader.page.get_by_text("una pregunta")).to_be_visible()
    await expect(reader.composer).to_be_hidden()
    await expect(reader.page.get_by_role("button")).to_have_count(0)
