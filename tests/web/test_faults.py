"""When something is away, full or broken, the page says so, keeps everything, and goes on."""

from __future__ import annotations

import pytest
from playwright.async_api import Route, expect
from tests.web.reader import Reader
from tests.web.scripted_server import Reply, Script, error

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_engine_goes_and_comes_back(reader: Reader, script: Script) -> None:
    script.engine = "down"
    script.answer(Reply(refuse=(503, error("unavailable", hint="Start the engine."))))
    await reader.say("¿hay alguien?")
    await expect(reader.log).to_contain_text("The engine cannot answer at the moment.")
    notice = reader.page.get_by_role("status").filter(has_text="The engine is not running.")
    await expect(notice).to_contain_text("Start it with maloca up")
    await reader.page.get_by_text("What the server said").click()
    await expect(reader.log).to_contain_text("scripted unavailable Start the engine.")
    await reader.composer.fill("otra cosa")

    script.engine = "loading"
    await expect(reader.page.get_by_text("The model is loading.")).to_be_visible()
    script.engine = "ready"
    await expect(reader.page.get_by_text("The engine is back.", exact=True)).to_be_visible()
    await expect(reader.log).to_contain_text("The engine is back. You can try again.")
    script.answer(Reply("aquí estoy"))
    await reader.button("Try again").click()
    await expect(reader.answer).to_have_text("aquí estoy")
    await expect(reader.composer).to_have_value("otra cosa")
    assert script.requests[-1]["messages"] == [{"role": "user", "content": "¿hay alguien?"}]


async def test_a_loading_model_is_announced_when_it_is_there(
    reader: Reader, script: Script
) -> None:
    script.engine = "loading"
    await reader.page.reload()
    await expect(reader.page.get_by_text("The model is loading.")).to_be_visible()
    script.engine = "ready"
    await expect(reader.page.get_by_text("The model is ready.")).to_be_visible()


async def test_the_server_is_away(reader: Reader) -> None:
    async def refuse(route: Route) -> None:
        await route.abort("connectionrefused")

    await reader.page.route("**/*", refuse)
    await reader.say("hola")
    await expect(reader.log).to_contain_text("The server cannot be reached. Your message is kept.")
    await expect(
        reader.page.get_by_role("status").filter(has_text="Start it with maloca up")
    ).to_contain_text("The server cannot be reached.")
    await reader.page.unroute("**/*")
    await expect(reader.log).to_contain_text("The engine is back. You can try again.")
    await reader.button("Try again").click()
    await expect(reader.answer).to_have_text("Hola.")


async def test_a_cut_stream_keeps_its_text(reader: Reader, script: Script) -> None:
    script.answer(Reply("Llegó hasta **aquí**", cut=True), Reply("Entera."))
    await reader.say("hola")
    await expect(reader.log).to_contain_text("The connection was cut before the answer ended.")
    await expect(reader.answer).to_have_text("Llegó hasta aquí")
    await reader.page.reload()
    await expect(reader.answer).to_have_text("Llegó hasta aquí")
    await expect(reader.log).to_contain_text("The connection was cut before the answer ended.")
    await reader.button("Try again").click()
    await expect(reader.answer).to_have_text("Entera.")
    await expect(reader.log).not_to_contain_text("cut")


async def test_a_failure_in_the_middle_keeps_its_text(reader: Reader, script: Script) -> None:
    script.answer(Reply("Llegó hasta aquí", fail=error("worker_crashed", hint="It restarts.")))
    await reader.say("hola")
    await expect(reader.log).to_contain_text("The model stopped in the middle of its work.")
    await expect(reader.answer).to_have_text("Llegó hasta aquí")


@pytest.mark.parametrize(
    ("status", "info", "told"),
    [
        (422, {"code": "context_length_exceeded", "param": "messages"}, "has become too long"),
        (404, {"code": "model_not_found"}, "That model is not here any more."),
        (504, {"code": "budget_exceeded"}, "took longer than allowed"),
        (413, {"code": "body_too_large"}, "The message is too large."),
        (403, {"code": "forbidden"}, "does not accept requests from this address"),
        (500, {"code": "model_failed"}, "maloca doctor tells what is wrong"),
        (422, {"code": "something_new", "type": "invalid_request_error"}, "did not accept"),
        (500, {"code": "something_new"}, "The answer failed."),
    ],
)
async def test_refusals_are_told_in_plain_words(
    reader: Reader, script: Script, status: int, info: dict[str, str], told: str
) -> None:
    script.answer(Reply(refuse=(status, error(status=status, **info))))
    await reader.say("hola")
    await expect(reader.log).to_contain_text(told)
    await expect(reader.log).to_contain_text("hola")
    await expect(reader.button("Try again")).to_be_visible()


async def test_a_full_context_offers_a_new_chat(reader: Reader, script: Script) -> None:
    refused = error("context_length_exceeded", status=422, param="messages")
    script.answer(Reply(refuse=(422, refused)))
    await reader.say("hola")
    await reader.log.get_by_role("button", name="New chat").click()
    await expect(reader.log).to_be_empty()


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "{}", '{"error": "no"}'])
async def test_a_proxy_between_is_no_riddle(reader: Reader, body: str) -> None:
    async def meddle(route: Route) -> None:
        await route.fulfill(status=502, body=body)

    await reader.page.route("**/chats/stream", meddle)
    await reader.say("hola")
    await expect(reader.log).to_contain_text("something that this page does not understand")
    await expect(reader.log).to_contain_text("HTTP 502")


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", "<p>hola</p>"), ("text/event-stream", "event: delta\ndata: {\n\n")],
)
async def test_a_success_that_is_none(reader: Reader, kind: str, body: str) -> None:
    async def meddle(route: Route) -> None:
        await route.fulfill(status=200, content_type=kind, body=body)

    await reader.page.route("**/chats/stream", meddle)
    await reader.say("hola")
    await expect(reader.log).to_contain_text("something that this page does not understand")


async def test_a_message_that_failed_goes_along_with_the_next(
    reader: Reader, script: Script
) -> None:
    script.answer(Reply(refuse=(503, error("unavailable"))))
    await reader.say("primera")
    await expect(reader.button("Try again")).to_be_visible()
    await reader.ask("segunda")
    assert script.requests[-1]["messages"] == [{"role": "user", "content": "primera\n\nsegunda"}]
    await expect(reader.button("Try again")).to_have_count(0)


async def test_a_hidden_page_asks_nothing(reader: Reader, script: Script) -> None:
    def asked() -> int:
        return reader.requests.count(reader.url + "/health")

    async def be(away: str) -> None:
        await reader.page.evaluate(
            f"() => {{ window.away = {away};"
            " document.dispatchEvent(new Event('visibilitychange')); }"
        )

    script.engine = "down"
    await reader.page.add_init_script(
        "Object.defineProperty(document, 'hidden', { get: () => window.away === true });"
    )
    await reader.page.clock.install()
    await reader.page.reload()
    await expect(reader.page.get_by_text("The engine is not running.")).to_be_visible()
    before = asked()
    await reader.page.clock.run_for(2_100)
    await script.until(lambda: asked() == before + 1)
    await be("true")
    await reader.page.clock.run_for(60_000)
    assert asked() == before + 1
    script.engine = "ready"
    await be("false")
    await expect(reader.page.get_by_text("The engine is back.")).to_be_visible()
