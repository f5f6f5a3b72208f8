from __future__ import annotations

from contextlib import aclosing

import pytest
from tests.server.providers.scripted import (
    DONE,
    USAGE,
    Scripted,
    Step,
    answer,
    error,
    failed,
    key_refused,
    request,
    started,
)

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest, collect
from maloca.core.errors import MalocaError
from maloca.core.events import Cancelled, Delta, Done, Event, Failed, Skipped, Started
from maloca.server.providers.attempt import Timers
from maloca.server.providers.base import Declined
from maloca.server.providers.breaker import Breaker
from maloca.server.providers.chain import Link, ProviderChain
from maloca.server.providers.egress import Egress

FAST = Timers(first_token=0.05, idle=0.05, total=30.0)
NEVER = 30.0


def chain(*providers: Scripted, egress: bool = True, attempts: int = 5) -> ProviderChain:
    links = [Link(provider, Breaker()) for provider in providers]
    return ProviderChain(links, egress=Egress(allowed=egress), timers=FAST, max_attempts=attempts)


async def ask(of: ProviderChain, wanted: CompletionRequest | None = None) -> list[Event]:
    return [event async for event in of.complete(wanted or request(privacy="cloud-allowed"))]


def who(events: list[Event]) -> tuple[str, list[Skipped]]:
    assert isinstance(events[0], Started)
    return events[0].answered_by, events[0].skipped


FAULTS: list[tuple[list[Step], str]] = [
    ([error(503, "engine_unreachable")], "engine_unreachable"),
    ([error(500)], "broken"),
    ([error(408)], "broken"),
    ([error(429, "overloaded")], "overloaded"),
    ([error(401)], "broken"),
    ([error(403)], "broken"),
    ([key_refused()], "provider_refuses_key"),
    ([NEVER], "first_token_timeout"),
    ([started(), NEVER], "first_token_timeout"),
    ([], "stream_broken"),
    ([started()], "stream_broken"),
    ([started(), USAGE], "stream_broken"),
    ([started(), failed(500)], "broken"),
    ([failed(502)], "broken"),
    ([started(), Cancelled()], "cancelled"),
    ([Delta("without a start"), DONE], "stream_broken"),
    ([RuntimeError("a defect")], "internal_error"),
]


async def test_the_first_that_speaks_answers_and_nobody_else_is_asked() -> None:
    engine, standby = Scripted("engine"), Scripted("standby")
    events = await ask(chain(engine, standby))
    assert [type(event).__name__ for event in events] == ["Started", "Delta", "Usage", "Done"]
    assert who(events) == ("engine", [])
    assert (len(engine.asked), len(standby.asked)) == (1, 0)


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_a_failure_before_the_first_text_falls_through(
    fault: list[Step], reason: str
) -> None:
    engine, standby = Scripted("engine", fault), Scripted("standby")
    events = await ask(chain(engine, standby))
    assert who(events) == ("standby", [Skipped("engine", reason)])
    assert [type(event) for event in events if isinstance(event, Started | Done | Failed)] == [
        Started,
        Done,
    ]
    assert engine.closed == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ([NEVER], "idle_timeout"),
        ([failed(500)], "broken"),
        ([error(503)], "broken"),
        ([], "stream_broken"),
        ([RuntimeError("a defect")], "internal_error"),
    ],
)
async def test_after_the_first_text_a_failure_is_the_one_end(fault: list[Step], code: str) -> None:
    engine, standby = Scripted("engine", [started(), Delta("ho"), *fault]), Scripted("standby")
    *before, last = await ask(chain(engine, standby))
    assert [type(event) for event in before] == [Started, Delta]
    assert isinstance(last, Failed)
    assert last.error.code == code
    assert not standby.asked
    assert engine.closed == 1


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
async def test_the_callers_own_mistake_returns_at_once(status: int) -> None:
    engine, standby = Scripted("engine", [error(status, "mistake")]), Scripted("standby")
    with pytest.raises(MalocaError) as caught:
        await ask(chain(engine, standby))
    assert (caught.value.info.status, caught.value.info.code) == (status, "mistake")
    assert not standby.asked


async def test_if_all_fail_the_first_ones_error_stands() -> None:
    engine = Scripted("engine", [error(429, "overloaded", retry_after=7.0)])
    of = chain(engine, Scripted("standby", [error(500)]), Scripted("openai", [NEVER]))
    with pytest.raises(MalocaError) as caught:
        await ask(of)
    info = caught.value.info
    assert (info.status, info.code, info.retry_after) == (429, "overloaded", 7.0)


async def test_an_answer_without_text_is_an_answer() -> None:
    events = await ask(chain(Scripted("engine", [started(), USAGE, DONE]), Scripted("standby")))
    assert who(events) == ("engine", [])
    assert (
        await collect(chain(Scripted("engine", [started(), USAGE, DONE])).complete(request()))
    ).text == ""


async def test_a_request_may_name_its_provider() -> None:
    engine, standby = Scripted("engine"), Scripted("standby")
    assert who(await ask(chain(engine, standby), request(provider="standby"))) == ("standby", [])
    assert who(await ask(chain(engine, standby), request(provider="hf"))) == ("engine", [])
    broken = Scripted("engine", [error(500)])
    with pytest.raises(MalocaError):
        await ask(chain(broken, standby), request(provider="engine"))
    assert len(standby.asked) == 1
    for unknown in ("openai", "http://evil.example"):
        with pytest.raises(MalocaError) as caught:
            await ask(chain(engine, standby), request(provider=unknown))
        assert (caught.value.info.status, caught.value.info.param) == (422, "provider")


@pytest.mark.parametrize(
    ("egress", "privacy", "reason"),
    [
        (False, "cloud-allowed", "egress_off"),
        (False, None, "egress_off"),
        (True, None, "local_only"),
        (True, "local-only", "local_only"),
        (True, "cloud-allowed", None),
    ],
)
async def test_the_strictest_decides_whether_a_cloud_is_asked(
    egress: bool, privacy: str | None, reason: str | None
) -> None:
    cloud, house = Scripted("openai", local=False), Scripted("extractive")
    events = await ask(chain(cloud, house, egress=egress), request(privacy=privacy))
    if reason is None:
        assert who(events) == ("openai", [])
    else:
        assert who(events) == ("extractive", [Skipped("openai", reason)])
        assert not cloud.asked
        with pytest.raises(MalocaError) as caught:
            await ask(chain(cloud, egress=egress), request(privacy=privacy, provider="openai"))
        assert (caught.value.info.status, caught.value.info.code) == (403, "egress_refused")
        assert reason in caught.value.info.message
        assert not cloud.asked


async def test_an_empty_chain_says_what_to_do() -> None:
    with pytest.raises(MalocaError) as caught:
        await ask(chain())
    assert (caught.value.info.status, caught.value.info.code) == (503, "no_provider")
    assert caught.value.info.hint


async def test_who_has_nothing_to_offer_is_not_at_fault() -> None:
    declines = Scripted("extractive", [Declined("Nothing there.", code="no_passages")])
    of = chain(Scripted("engine", [error(503, "engine_unreachable")]), declines)
    for _ in range(5):
        with pytest.raises(MalocaError) as caught:
            await ask(of)
        assert caught.value.info.code == "engine_unreachable"
    assert of.links[1].breaker.state("k") == "closed"
    assert len(declines.asked) == 5


async def test_only_so_many_are_asked() -> None:
    providers = [Scripted(name, [error(500)]) for name in ("engine", "standby", "openai")]
    with pytest.raises(MalocaError):
        await ask(chain(*providers, attempts=2))
    assert [len(provider.asked) for provider in providers] == [1, 1, 0]


async def test_the_callers_time_is_one_for_all_and_no_fault_of_a_provider() -> None:
    engine, standby = Scripted("engine", [NEVER]), Scripted("standby", [NEVER])
    of = chain(engine, standby)
    for _ in range(4):
        with pytest.raises(MalocaError) as caught:
            await ask(of, request(budget=Budget.of_ms(10)))
        assert (caught.value.info.status, caught.value.info.code) == (504, "budget_exceeded")
    assert of.links[0].breaker.state("k") == "closed"
    assert not standby.asked
    seen = engine.asked[0].budget
    assert seen is not None
    assert seen.remaining_ms <= 10


async def test_a_provider_gets_the_chains_own_limit_if_the_caller_brings_none() -> None:
    engine = Scripted("engine")
    await ask(chain(engine))
    budget = engine.asked[0].budget
    assert budget is not None
    assert 25_000 < budget.remaining_ms <= 30_000


async def test_whoever_leaves_stops_the_provider() -> None:
    engine = Scripted("engine", [started(), Delta("a"), NEVER])
    of = chain(engine)
    async with aclosing(of.complete(request())) as events:
        async for event in events:
            if isinstance(event, Delta):
                break
    assert engine.closed == 1
    assert of.links[0].breaker.state("k") == "closed"


async def test_a_provider_that_fails_again_and_again_is_passed_over() -> None:
    cloud, standby = Scripted("openai", [error(500)], local=False), Scripted("standby")
    of = chain(cloud, standby)
    for _ in range(5):
        await ask(of)
    assert len(cloud.asked) == 3
    assert who(await ask(of)) == ("standby", [Skipped("openai", "breaker_open")])
    alone = ProviderChain([of.links[0]], egress=Egress(allowed=True), timers=FAST)
    with pytest.raises(MalocaError) as caught:
        await ask(alone)
    assert caught.value.info.status == 500
    assert caught.value.info.retry_after
    assert len(cloud.asked) == 3


async def test_an_open_breaker_puts_the_house_last_not_out() -> None:
    engine = Scripted("engine", [error(500)], [error(500)], [error(500)], answer("back"))
    extractive = Scripted("extractive", [Declined("Nothing there.", code="no_passages")])
    of = chain(engine, extractive)
    for _ in range(3):
        with pytest.raises(MalocaError):
            await ask(of)
    assert of.links[0].breaker.state("k") == "open"
    assert who(await ask(of)) == ("engine", [Skipped("extractive", "no_passages")])
    assert of.links[0].breaker.state("k") == "closed"


async def test_a_rate_limit_cools_down_and_the_next_one_answers() -> None:
    cloud = Scripted("openai", [error(429, retry_after=60.0)], answer(), local=False)
    of = chain(cloud, Scripted("standby"))
    assert who(await ask(of)) == ("standby", [Skipped("openai", "broken")])
    assert who(await ask(of)) == ("standby", [Skipped("openai", "cooling_down")])
    assert len(cloud.asked) == 1


async def test_a_refused_key_disables_until_it_changes() -> None:
    cloud = Scripted("openai", [key_refused()], answer(), local=False)
    of = chain(cloud, Scripted("standby"))
    for _ in range(3):
        assert who(await ask(of))[0] == "standby"
    assert len(cloud.asked) == 1
    cloud.secret = "another"  # noqa: S105 - made up
    assert who(await ask(of)) == ("openai", [])


async def test_streams_that_break_off_open_the_breaker_too() -> None:
    cloud = Scripted("openai", [started(), Delta("a")], local=False)
    of = chain(cloud, Scripted("standby"))
    for _ in range(3):
        assert isinstance((await ask(of))[-1], Failed)
    assert who(await ask(of))[0] == "standby"
