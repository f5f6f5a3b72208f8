from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from maloca.core.errors import ErrorInfo
from maloca.server.providers.base import KeyRefused
from maloca.server.providers.breaker import Breaker, Pass, Refusal

OPEN = 10.0
FAILURE = ErrorInfo(message="It broke.", status=503)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def new(clock: Clock) -> Breaker:
    return Breaker(clock=clock, failures_to_open=3, open_seconds=OPEN)


def admitted(breaker: Breaker, secret: str | None = None) -> Pass:
    found = breaker.admit(secret)
    assert isinstance(found, Pass)
    return found


def refused(breaker: Breaker, secret: str | None = None) -> Refusal:
    found = breaker.admit(secret)
    assert isinstance(found, Refusal)
    return found


def fail(breaker: Breaker, times: int = 1, error: ErrorInfo = FAILURE) -> None:
    for _ in range(times):
        admitted(breaker).failed(error)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = new(Clock())
    fail(breaker, 2)
    admitted(breaker).finished()
    fail(breaker, 2)
    assert breaker.state() == "closed"
    fail(breaker)
    assert breaker.state() == "open"
    assert (refused(breaker).reason, refused(breaker).error.retry_after) == ("breaker_open", OPEN)


def test_after_a_while_a_single_probe_decides() -> None:
    clock = Clock()
    breaker = new(clock)
    fail(breaker, 3)
    clock.now += OPEN
    probe = admitted(breaker)
    assert refused(breaker).reason == "breaker_open"
    probe.failed(FAILURE)
    assert breaker.state() == "open"
    clock.now += OPEN
    probe = admitted(breaker)
    probe.began()
    admitted(breaker).finished()
    assert breaker.state() == "closed"


def test_a_probe_that_says_nothing_leaves_its_place_to_another() -> None:
    clock = Clock()
    breaker = new(clock)
    fail(breaker, 3)
    clock.now += OPEN
    admitted(breaker).abandoned()
    assert breaker.state() == "half-open"
    admitted(breaker)


def test_requests_under_way_when_it_opened_neither_prolong_it_nor_end_its_probe() -> None:
    clock = Clock()
    breaker = new(clock)
    early = [admitted(breaker) for _ in range(3)]
    fail(breaker, 3)
    clock.now += OPEN / 2
    early[0].failed(FAILURE)
    clock.now += OPEN / 2
    admitted(breaker)
    early[1].abandoned()
    assert isinstance(breaker.admit(), Refusal)


def test_a_rate_limit_cools_down_for_as_long_as_it_asks() -> None:
    clock = Clock()
    breaker = new(clock)
    fail(breaker, 1, ErrorInfo(message="Slow down.", status=429, retry_after=7.0))
    assert (breaker.state(), refused(breaker).error.retry_after) == ("cooling", 7.0)
    clock.now += 7
    assert breaker.state() == "closed"
    for wanted, seconds in ((None, 5.0), (1e9, 3600.0)):
        fail(breaker, 1, ErrorInfo(message="Slow down.", status=429, retry_after=wanted))
        clock.now += seconds - 0.5
        assert breaker.state() == "cooling"
        clock.now += 0.5
        assert breaker.state() == "closed"


def test_a_refused_key_disables_until_another_one_is_in_force() -> None:
    breaker = new(Clock())
    admitted(breaker, "sk-uno").failed(KeyRefused("No.").info)
    assert (breaker.state("sk-uno"), breaker.state("sk-dos")) == ("disabled", "closed")
    assert refused(breaker, "sk-uno").reason == "key_refused"
    assert "sk-uno" not in repr(vars(breaker))


class Machine(RuleBasedStateMachine):
    """Whatever happens: while it is open nobody passes, and half-open one at most."""

    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.breaker = new(self.clock)
        self.passes: list[Pass] = []

    @rule()
    def ask(self) -> None:
        before = self.breaker.state()
        found = self.breaker.admit()
        if isinstance(found, Pass):
            assert before in {"closed", "half-open"}
            self.passes.append(found)
            if before == "half-open":
                assert isinstance(self.breaker.admit(), Refusal)
        else:
            assert before != "closed"
            assert found.error.message

    @precondition(lambda self: self.passes)
    @rule(data=st.data(), how=st.sampled_from(["finished", "failed", "limited", "abandoned"]))
    def report(self, data: st.DataObject, how: str) -> None:
        index = data.draw(st.integers(0, len(self.passes) - 1))
        holder = self.passes.pop(index)
        if how == "failed":
            holder.failed(FAILURE)
        elif how == "limited":
            holder.failed(ErrorInfo(message="Slow down.", status=429, retry_after=3.0))
        elif how == "finished":
            holder.finished()
            assert self.breaker.state() in {"closed", "cooling"}
        else:
            holder.abandoned()

    @rule(seconds=st.sampled_from([0.5, 3.0, OPEN]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
