"""Identical requests in flight: one works, the others get what it gets, and nobody drags along."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from maloca.core.budget import Budget
from maloca.core.errors import BudgetExceeded, Unavailable
from maloca.server.inference.cache.flights import Flights


class Works:
    """Work that is finished by hand, once for each time that it began."""

    def __init__(self) -> None:
        self.ends: list[asyncio.Future[str]] = []
        self.cancelled = 0

    async def __call__(self) -> str:
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        try:
            return await end
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


Share = Callable[[], Awaitable[tuple[str, bool]]]


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
def flights() -> Flights[str]:
    return Flights()


async def begin(
    flights: Flights[str], works: Works, count: int = 1
) -> list[asyncio.Task[tuple[str, bool]]]:
    tasks = [asyncio.create_task(flights.share("key", works)) for _ in range(count)]
    await settle()
    return tasks


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_works_for_all(flights: Flights[str], works: Works) -> None:
    tasks = await begin(flights, works, 5)
    [end] = works.ends
    end.set_result("hola")
    assert await asyncio.gather(*tasks) == [("hola", False)] + [("hola", True)] * 4
    assert len(flights) == 0


async def test_other_keys_work_for_themselves(flights: Flights[str], works: Works) -> None:
    tasks = [asyncio.create_task(flights.share(key, works)) for key in "ab"]
    await settle()
    for end, text in zip(works.ends, "xy", strict=True):
        end.set_result(text)
    assert await asyncio.gather(*tasks) == [("x", False), ("y", False)]


async def test_what_is_over_is_not_shared(flights: Flights[str], works: Works) -> None:
    [first] = await begin(flights, works)
    works.ends[0].set_result("one")
    assert await first == ("one", False)
    [second] = await begin(flights, works)
    works.ends[1].set_result("two")
    assert await second == ("two", False)


@pytest.mark.parametrize("error", [Unavailable("gone"), RuntimeError("a defect")])
async def test_a_leaders_failure_is_its_own(
    flights: Flights[str], works: Works, error: Exception
) -> None:
    leader, *followers = await begin(flights, works, 4)
    works.ends[0].set_exception(error)
    await settle()
    with pytest.raises(type(error)):
        await leader
    # The followers try once more, together.
    assert len(works.ends) == 2
    works.ends[1].set_result("hola")
    found = await asyncio.gather(*followers)
    assert [text for text, _ in found] == ["hola"] * 3
    assert sorted(shared for _, shared in found) == [False, True, True]


async def test_followers_try_once_and_then_fail(flights: Flights[str], works: Works) -> None:
    tasks = await begin(flights, works, 3)
    works.ends[0].set_exception(Unavailable("gone"))
    await settle()
    works.ends[1].set_exception(Unavailable("still gone"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["gone", "still gone", "still gone"]
    assert len(works.ends) == 2
    assert len(flights) == 0


@pytest.mark.parametrize("leaving", [0, 1])
async def test_who_leaves_stops_nobody_else(
    flights: Flights[str], works: Works, leaving: int
) -> None:
    tasks = await begin(flights, works, 3)
    tasks.pop(leaving).cancel()
    await settle()
    works.ends[0].set_result("hola")
    assert [text for text, _ in await asyncio.gather(*tasks)] == ["hola"] * 2
    assert works.cancelled == 0


async def test_the_last_to_leave_stops_the_work(flights: Flights[str], works: Works) -> None:
    tasks = await begin(flights, works, 3)
    for task in tasks:
        assert works.cancelled == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert works.cancelled == 1
    assert len(flights) == 0


async def test_each_waits_as_long_as_its_own_budget(flights: Flights[str], works: Works) -> None:
    [leader] = await begin(flights, works)
    with pytest.raises(BudgetExceeded):
        await flights.share("key", works, budget=Budget.of_ms(20))
    assert len(works.ends) == 1
    works.ends[0].set_result("hola")
    assert await leader == ("hola", False)
