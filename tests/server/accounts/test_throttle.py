"""Guessing is slow, and nobody is locked out of what is theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from limits.errors import StorageError
from tests.server.accounts.conftest import PASSWORD, House, NewHouse, code_of, log_in

from maloca.core.errors import Unavailable
from maloca.server.accounts.errors import TooManyAttempts
from maloca.server.accounts.throttle import Attempt, LoginThrottle
from maloca.server.limits.windows import MemoryWindows

STRANGERS = [f"198.51.{i // 200}.{i % 200 + 1}" for i in range(2000)]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> LoginThrottle:
    return LoginThrottle(MemoryWindows(clock))


async def tries(throttle: LoginThrottle, count: int, **attempt: Any) -> int:
    """Return how many of so many attempts are admitted."""
    admitted = 0
    for _ in range(count):
        try:
            await throttle.admit(Attempt(**{"account": "olga", "address": "192.0.2.1"} | attempt))
        except TooManyAttempts:
            continue
        admitted += 1
    return admitted


async def test_one_client_has_ten_attempts_in_five_minutes(
    throttle: LoginThrottle, clock: Clock
) -> None:
    assert await tries(throttle, 15) == 10
    clock.seconds += 299
    assert await tries(throttle, 5) == 0
    clock.seconds += 2
    assert await tries(throttle, 15) == 10


async def test_an_address_is_counted_over_all_accounts(throttle: LoginThrottle) -> None:
    admitted = 0
    for number in range(80):
        admitted += await tries(throttle, 1, account=f"user{number}")
    assert admitted == 60


async def test_ipv6_is_counted_by_the_network_of_one_user(throttle: LoginThrottle) -> None:
    admitted = 0
    for number in range(20):
        admitted += await tries(throttle, 1, address=f"2001:db8::{number + 1:x}")
    assert admitted == 10
    assert await tries(throttle, 1, address="2001:db8:0:1::1") == 1


async def test_an_account_is_counted_over_all_addresses(throttle: LoginThrottle) -> None:
    admitted = 0
    for address in STRANGERS[:50]:
        admitted += await tries(throttle, 1, address=address)
    assert admitted == 30


async def test_the_house_is_counted_over_everything(throttle: LoginThrottle) -> None:
    admitted = 0
    for number, address in enumerate(STRANGERS):
        admitted += await tries(throttle, 1, account=f"user{number}", address=address)
    assert admitted == 1500


async def test_success_forgets_the_failures_of_that_client(throttle: LoginThrottle) -> None:
    assert await tries(throttle, 9) == 9
    await throttle.succeeded(Attempt(account="olga", address="192.0.2.1"))
    assert await tries(throttle, 15) == 10


async def test_without_counts_nobody_guesses() -> None:
    class Gone(MemoryWindows):
        async def acquire_entry(self, *_: Any, **__: Any) -> bool:
            raise StorageError(ConnectionError("gone"))

    with pytest.raises(Unavailable):
        await LoginThrottle(Gone()).admit(Attempt(account="olga", address="192.0.2.1"))


async def test_sign_in_is_closed_while_redis_is_gone(new_house: NewHouse) -> None:
    house = await new_house(redis_url="redis://127.0.0.1:1/0")
    await house.add("ana")
    for answer in (
        await log_in(house.client(), "ana"),
        await house.client().post("/auth/register", json={"username": "x", "password": "y"}),
    ):
        assert (answer.status_code, code_of(answer)) == (503, "unavailable")
        assert "Redis" in answer.json()["error"]["hint"]
    await house.accounts.aclose()


class TestOwner:
    """Whoever floods the owner's account from elsewhere does not keep the owner out."""

    @pytest.fixture
    async def flooded(self, owned: House) -> House:
        """The owner has signed in at 192.0.2.1; then strangers try until none is admitted."""
        browser = owned.client("192.0.2.1")
        body = {"username": "olga", "password": PASSWORD}
        assert (await browser.post("/auth/sessions", json=body)).status_code == 201
        self.device = browser.cookies["maloca_device"]
        answers = await asyncio.gather(
            *(log_in(owned.client(a), "olga", "wrong-one-here") for a in STRANGERS[:40])
        )
        assert {answer.status_code for answer in answers} <= {401, 429}
        refused = await log_in(owned.client(STRANGERS[50]), "olga")
        assert (refused.status_code, code_of(refused)) == (429, "too_many_attempts")
        assert refused.headers["Retry-After"] == "60"
        return owned

    async def test_a_known_address_gets_in(self, flooded: House) -> None:
        assert (await log_in(flooded.client("192.0.2.1"), "olga")).status_code == 200

    async def test_a_known_device_gets_in_from_anywhere(self, flooded: House) -> None:
        client = flooded.client("203.0.113.9", Cookie=f"maloca_device={self.device}")
        assert (await log_in(client, "olga")).status_code == 200

    async def test_a_forged_device_does_not(self, flooded: House) -> None:
        client = flooded.client("203.0.113.9", Cookie=f"maloca_device={self.device[:-4]}AAAA")
        assert (await log_in(client, "olga")).status_code == 429

    async def test_another_account_is_not_touched(self, flooded: House) -> None:
        assert (await log_in(flooded.client("203.0.113.9"), "ana")).status_code == 200


async def test_a_device_guesses_no_faster_than_others(owned: House) -> None:
    browser = owned.client()
    await browser.post("/auth/sessions", json={"username": "ana", "password": PASSWORD})
    statuses = [(await log_in(browser, "ana", "wrong-one-here")).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2


async def test_many_at_once_do_not_slip_through(owned: House) -> None:
    answers = await asyncio.gather(
        *(log_in(owned.client("192.0.2.9"), "ana", "wrong-one-here") for _ in range(30))
    )
    assert sorted(a.status_code for a in answers) == [401] * 10 + [429] * 20


async def test_refusals_are_reported_once(owned: House) -> None:
    for _ in range(15):
        await log_in(owned.client("192.0.2.9"), "ana", "wrong-one-here")
    olga = await owned.sign_in("olga")
    for action, count in (("login.failed", 10), ("login.throttled", 1)):
        events = (await olga.get("/admin/api/audit", params={"action": action})).json()
        assert [event["target"] for event in events] == ["ana"] * count
        assert {event["address"] for event in events} == {"192.0.2.9"}
