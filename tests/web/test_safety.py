"""An answer is text from a stranger: it can be read, and nothing in it runs, loads or submits."""

from __future__ import annotations

import pytest
from playwright.async_api import expect
from tests.web.reader import Reader
from tests.web.scripted_server import Reply, Script

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OUT = "https://attacker.example"
# Each would call ran() or reach OUT in a page that trusts markup.
HOSTILE = [
    "<script>ran()</script>",
    f'<script src="{OUT}/x.js"></script>',
    "<img src=x onerror=ran()>",
    f'<img src="{OUT}/pixel.png">',
    f"![a]({OUT}/pixel.png)",
    f"![a][pixel]\n\n[pixel]: {OUT}/pixel.png",
    f'<img srcset="{OUT}/a.png 1x">',
    f'<picture><source srcset="{OUT}/a.png"><img src="{OUT}/b.png"></picture>',
    "<svg onload=ran()></svg>",
    "<svg><script>ran()</script></svg>",
    '<svg><a xlink:href="javascript:ran()"><text y="20">x</text></a></svg>',
    f'<svg><use href="{OUT}/x.svg#a"></use></svg>',
    f'<svg><image href="{OUT}/x.png"></image></svg>',
    "<svg><animate onbegin=ran() attributeName=x dur=1s></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=ran()></style></mglyph></table></math>",
    "<noscript><p title='</noscript><img src=x onerror=ran()>'></noscript>",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=ran()></form>",
    "[x](javascript:ran())",
    "[x](JaVaScRiPt:ran())",
    "[x](java\tscript:ran())",
    "[x](&#106;avascript:ran())",
    "[x](data:text/html,<script>ran()</script>)",
    "[x](vbscript:ran())",
    "<javascript:ran()>",
    '<a href="javascript:ran()">x</a>',
    '<a href=" &#x6A;avascript&colon;ran()">x</a>',
    '<a href="#" onclick="ran()">x</a>',
    '[x](https://ok.example "onmouseover=ran() x")',
    f'<iframe src="{OUT}"></iframe>',
    '<iframe srcdoc="<script>parent.ran()</script>"></iframe>',
    f'<object data="{OUT}/x.swf"></object>',
    f'<embed src="{OUT}/x.swf">',
    f'<link rel="stylesheet" href="{OUT}/x.css">',
    f"<style>@import '{OUT}/x.css'; body {{ display: none }}</style>",
    f'<p style="background: url({OUT}/x.png)">x</p>',
    '<div style="position: fixed; inset: 0">over everything</div>',
    f'<meta http-equiv="refresh" content="0; url={OUT}">',
    f'<base href="{OUT}/">',
    f'<form action="{OUT}"><input name=a autofocus onfocus=ran()><button>Go</button></form>',
    "<button formaction=javascript:ran()>x</button>",
    "<details open ontoggle=ran()><summary>x</summary></details>",
    "<video><source onerror=ran()></video>",
    f'<video poster="{OUT}/x.png" src="{OUT}/x.mp4" autoplay></video>',
    f'<audio src="{OUT}/x.mp3" autoplay onerror=ran()></audio>',
    f'<table background="{OUT}/x.png"><tr><td>x</td></tr></table>',
    "<body onload=ran()>",
    "<input type=image src=x onerror=ran()>",
    "<marquee onstart=ran()>x</marquee>",
    "<x onclick=ran() style=display:block>x</x>",
    "```html\n<img src=x onerror=ran()>\n```",
    '```"><img src=x onerror=ran()>\nx\n```',
    "`<img src=x onerror=ran()>`",
    '<div id="composer" name="body">clobber</div>',
    '<a id="location" name="location" href="https://ok.example">clobber</a>',
    "<template><script>ran()</script></template>",
    "<slot onslotchange=ran()></slot>",
    "<p is=x-y onclick=ran()>x</p>",
    "&lt;img src=x onerror=ran()&gt;",
    "<a href='https://ok.example' target=_top ping='" + OUT + "'>x</a>",
    "| a |\n|---|\n| <img src=x onerror=ran()> |",
    "> - # <img src=x onerror=ran()>",
    "<!--><img src=x onerror=ran()>-->",
    "<![CDATA[<img src=x onerror=ran()>]]>",
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "letter by letter"])
async def test_nothing_in_an_answer_runs_or_loads(
    reader: Reader, script: Script, streamed: bool
) -> None:
    page = reader.page
    await page.evaluate("() => { window.runs = 0; window.ran = () => { window.runs += 1; }; }")
    text = "\n\n".join(HOSTILE)
    script.answer(Reply(text, pieces=None if streamed else 1))
    await reader.say("ataca")
    await expect(reader.button("Answer again")).to_be_visible(timeout=60_000)
    # Whatever a reader may touch is touched.
    await reader.answer.locator("a, summary, p, td, li").evaluate_all(
        """(all) => all.forEach((element) => {
          element.addEventListener("click", (event) => event.preventDefault(), { once: true });
          for (const name of ["mouseover", "focus", "toggle"]) {
            element.dispatchEvent(new Event(name));
          }
          element.click();
        })"""
    )
    assert await page.evaluate("window.runs") == 0
    found = await reader.answer.evaluate(
        """(answer) => {
          const all = [...answer.querySelectorAll("*")];
          const own = new Set([...answer.querySelectorAll("button, button *")]);
          return {
            elements: [...new Set(all.filter((e) => !own.has(e)).map((e) => e.localName))].sort(),
            attributes: [...new Set(all.filter((e) => !own.has(e))
              .flatMap((e) => e.getAttributeNames()))].sort(),
            links: [...answer.querySelectorAll("a[href]")]
              .map((a) => a.protocol + a.target + a.rel),
          };
        }"""
    )
    dangerous = {
        *("script", "style", "iframe", "object", "embed", "form", "input", "img", "svg", "math"),
        *("link", "meta", "base", "video", "audio", "template", "picture", "source"),
    }
    assert dangerous.isdisjoint(found["elements"])
    assert not [name for name in found["attributes"] if name.startswith("on")]
    assert {"style", "src", "srcset", "id", "name", "ping", "background"}.isdisjoint(
        found["attributes"]
    )
    assert set(found["links"]) == {"https:_blanknoopener noreferrer nofollow"}
    assert page.url.rstrip("/") == reader.url
    # The page itself is untouched: leave() asserts that no other host was asked.
    await expect(reader.composer).to_have_count(1)


async def test_an_image_is_a_link_until_it_is_followed(reader: Reader, script: Script) -> None:
    script.answer(Reply(f"![una casa]({OUT}/casa.png)"))
    await reader.ask("dibuja")
    link = reader.answer.get_by_role("link")
    await expect(link).to_have_text(f"una casa ({OUT}/casa.png)")
    await expect(link).to_have_attribute("href", f"{OUT}/casa.png")
    await expect(link).to_have_attribute("title", f"{OUT}/casa.png")


async def test_what_a_person_writes_is_shown_as_written(reader: Reader, script: Script) -> None:
    text = "<b>no</b> **tampoco** <img src=x onerror=alert(1)> `ni esto`"
    script.answer(Reply("ya"))
    await reader.ask(text)
    await expect(reader.page.locator(".bubble")).to_have_text(text)
    await expect(reader.page.locator(".bubble *")).to_have_count(0)


async def test_what_was_kept_is_not_trusted_either(reader: Reader) -> None:
    await reader.page.add_init_script(
        """localStorage.setItem("maloca.chat", JSON.stringify({ version: 1, messages: [
          { role: "user", text: "<img src=x onerror=ran()>", status: "done" },
          { role: "assistant", text: "<img src=x onerror=ran()>*ok*", status: "done",
            model: "<img src=x onerror=ran()>" },
        ] })); window.runs = 0; window.ran = () => { window.runs += 1; };"""
    )
    await reader.page.reload()
    await expect(reader.answer.locator("em")).to_have_text("ok")
    assert await reader.page.evaluate("window.runs") == 0
    await expect(reader.log.locator("img")).to_have_count(0)


async def test_the_policy_lets_no_inline_script_run(reader: Reader) -> None:
    await reader.page.evaluate(
        """() => {
          window.runs = 0;
          const script = document.createElement("script");
          script.textContent = "window.runs += 1";
          document.body.append(script);
        }"""
    )
    assert await reader.page.evaluate("window.runs") == 0
    assert any("Content Security Policy" in trouble for trouble in reader.troubles)
    reader.troubles.clear()
