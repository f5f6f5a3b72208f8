"""Tokens of the day: whatever happens at once, nobody gets more than the cap."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from maloca.core.completer import CompletionRequest
from maloca.core.errors import Unavailable
from maloca.core.messages import Message
from maloca.core.sampling import Sampling
from maloca.server.db.database import Database, database_url
from maloca.server.db.tables import Base
from maloca.server.limits import repository
from maloca.server.limits.budgets import OPEN_ANSWER, Reservation, TokenBudgets, estimate
from maloca.server.limits.rates import TokensSpent

TODAY = dt.date(2026, 5, 1)


async def spent(database: Database, tenant: str, day: dt.date = TODAY) -> int:
    async with database.read() as session:
        return await repository.spent(session, tenant, day)


async def test_many_workers_never_reserve_more_than_the_cap(database: Database) -> None:
    cap, reservation = 1000, 90
    replicas = [TokenBudgets(database, today=lambda: TODAY) for _ in range(3)]
    dice = random.Random(4)  # noqa: S311 - not for secrets
    held, peak, refused = 0, 0, 0

    async def work(budgets: TokenBudgets) -> None:
        nonlocal held, peak, refused
        for _ in range(6):
            try:
                mine = await budgets.reserve("user:a", reservation, cap=cap)
            except TokensSpent:
                refused += 1
                continue
            held += reservation
            peak = max(peak, held, await spent(database, "user:a"))
            await asyncio.sleep(0)
            used = dice.choice([0, 10, reservation])
            await budgets.settle(mine, used)
            held += used - reservation

    await asyncio.gather(*(work(replicas[number % 3]) for number in range(12)))
    assert refused > 0
    assert cap - reservation < peak <= cap
    assert await spent(database, "user:a") == held <= cap


async def test_an_answer_longer_than_thought_costs_what_it_cost(database: Database) -> None:
    budgets = TokenBudgets(database, today=lambda: TODAY)
    first = await budgets.reserve("user:a", 60, cap=100)
    with pytest.raises(TokensSpent, match=r"may need 41 tokens, and 40 of today's 100"):
        await budgets.reserve("user:a", 41, cap=100)
    second = await budgets.reserve("user:a", 40, cap=100)
    await budgets.settle(first, 75)
    await budgets.settle(second, 40)
    # Over the cap by no more than the one answer was longer than its reservation.
    assert await spent(database, "user:a") == 115
    with pytest.raises(TokensSpent) as caught:
        await budgets.reserve("user:a", 1, cap=100)
    info = caught.value.info
    assert (info.status, info.code) == (429, "token_budget_spent")
    assert info.retry_after is not None
    assert 0 < info.retry_after <= 24 * 3600


async def test_days_and_callers_are_apart(database: Database) -> None:
    day = TODAY
    budgets = TokenBudgets(database, today=lambda: day)
    await budgets.reserve("user:a", 100, cap=100)
    await budgets.reserve("user:b", 100, cap=100)
    with pytest.raises(TokensSpent):
        await budgets.reserve("user:a", 1, cap=100)
    late = await TokenBudgets(database, today=lambda: TODAY).reserve("user:c", 10, cap=100)
    day = TODAY + dt.timedelta(days=1)
    await budgets.reserve("user:a", 100, cap=100)
    # An answer over midnight is settled on the day that it began.
    await budgets.settle(late, 4)
    assert await spent(database, "user:c") == 4
    day = TODAY + dt.timedelta(days=30)
    await budgets.reserve("user:a", 1, cap=100)
    assert await spent(database, "user:a") == 0, "old days are forgotten"


async def test_a_cap_of_nothing_allows_nothing(database: Database) -> None:
    with pytest.raises(TokensSpent):
        await TokenBudgets(database).reserve("user:a", 1, cap=0)


async def test_a_database_that_is_gone_breaks_no_answer_that_is_out_and_lets_none_begin(
    database: Database,
) -> None:
    budgets = TokenBudgets(database, today=lambda: TODAY)
    mine = await budgets.reserve("user:a", 60, cap=100)
    async with database.write() as session:
        connection = await session.connection()
        await connection.run_sync(Base.metadata.drop_all)
    await budgets.settle(mine, 10)
    with pytest.raises(Unavailable, match="The database does not answer"):
        await budgets.reserve("user:a", 1, cap=100)


def test_an_estimate_counts_prompt_and_answer() -> None:
    messages = [Message("user", "x" * 300)]
    request = CompletionRequest(model="m", messages=messages, sampling=Sampling(max_new_tokens=50))
    assert 150 <= estimate(request) <= 200
    unlimited = CompletionRequest(
        model="m", messages=messages, sampling=Sampling(max_new_tokens=None)
    )
    assert estimate(unlimited) - estimate(request) == OPEN_ANSWER - 50


class Budget(RuleBasedStateMachine):
    """Requests that begin, end, fail and run long, against a plain count."""

    held = Bundle("held")
    cap = 100

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(database_url(f"sqlite:///{Path(self.folder.name) / 'x.db'}"))
        self.budgets = TokenBudgets(self.database, today=lambda: TODAY)
        self.expected = 0
        self.overrun = 0
        self.runner.run(self.prepare())

    async def prepare(self) -> None:
        async with self.database.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

    def teardown(self) -> None:
        self.runner.run(self.database.aclose())
        self.runner.close()
        self.folder.cleanup()

    @rule(target=held, tokens=st.integers(1, 120))
    def begin(self, tokens: int) -> Reservation | None:
        fits = self.expected + tokens <= self.cap
        try:
            mine = self.runner.run(self.budgets.reserve("user:a", tokens, cap=self.cap))
        except TokensSpent:
            assert not fits
            return None
        assert fits
        self.expected += tokens
        return mine

    @rule(mine=consumes(held), used=st.integers(0, 130))
    def end(self, mine: Reservation | None, used: int) -> None:
        if mine is not None:
            self.runner.run(self.budgets.settle(mine, used))
            self.expected += used - mine.tokens
            self.overrun += max(0, used - mine.tokens)

    @invariant()
    def the_cap_holds(self) -> None:
        found = self.runner.run(spent(self.database, "user:a"))
        assert found == self.expected
        assert 0 <= found <= self.cap + self.overrun


TestBudget = Budget.TestCase
TestBudget.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
