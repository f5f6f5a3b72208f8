"""Which passwords are accepted, and what a hash costs."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import extract_parameters

from maloca.core.errors import Overloaded
from maloca.server.accounts import passwords
from maloca.server.accounts.common_passwords import is_common
from maloca.server.accounts.passwords import FLOOR, WAITING, Cost, Passwords, measure

COMMON = [
    "password",
    "Password1!",
    "p@ssw0rd123",
    "qwerty123",
    "12345678",
    "iloveyou",
    "contraseña2024",
    "maria1990",
    "aaaaaaaa",
    "abababab",
    "1qaz2wsx",
    "zaq12wsx",
    "asdfghjkl",
    "abcd1234",
    "passwordpassword",
    "qwertyuiop",
    "ana.maria",
    "ANA.MARIA1",
    "dragon77",
    "letmein!",
    "trustno1",
    "teamo123",
    "Colombia2024!",
    "Bogotá-2026",
    "maloca123",
    "malocamaloca",
    "01012000",
]
UNCOMMON = [
    "correct horse battery",
    "dragon8371938472",
    "tuyuyo-pescado-9",
    "kq3vjw8z",
    "mimonteverde7",
    "ɨhñe-bora-mewa",
    "93847561029384",
]


@pytest.mark.parametrize("password", COMMON)
def test_what_everybody_would_try_is_common(password: str) -> None:
    assert is_common(password, "ana.maria")


@pytest.mark.parametrize("password", UNCOMMON)
def test_what_nobody_would_try_is_not(password: str) -> None:
    assert not is_common(password, "ana.maria")


@pytest.mark.parametrize(("seconds", "passes"), [(1.0, 2), (0.05, 4), (0.033, 6), (0.0001, 8)])
def test_a_faster_machine_makes_more_passes(
    seconds: float, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_seconds", lambda _: seconds)
    assert measure() == Cost(passes, FLOOR.memory)


async def test_the_measured_cost_is_at_least_the_floor() -> None:
    made = extract_parameters(await Passwords(measure()).hash("tuyuyo-pescado-9"))
    assert made.type.name == "ID"
    assert made.time_cost >= 2
    assert made.memory_cost >= 19 * 1024
    assert made.salt_len >= 16


async def test_a_damaged_hash_is_never_right() -> None:
    assert not await Passwords(Cost(1, 8)).verify("x", "damaged")


async def test_the_queue_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Passwords(Cost(1, 8))
    running, most = 0, 0

    async def work(*_: object) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return True

    monkeypatch.setattr("maloca.server.accounts.passwords.asyncio.to_thread", work)
    answers = await asyncio.gather(
        *(found.hash("x") for _ in range(WAITING + 5)), return_exceptions=True
    )
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 5
    assert most == passwords.AT_ONCE
    assert await found.verify("x", "y")
