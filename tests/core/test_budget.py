from __future__ import annotations

from maloca.core.budget import Budget


def test_a_budget_counts_down_to_zero_and_never_below() -> None:
    budget = Budget.of_ms(60_000)
    assert 59_000 < budget.remaining_ms <= 60_000
    assert 59 < budget.remaining_seconds <= 60
    spent = Budget.of_ms(-5)
    assert (spent.remaining_ms, spent.remaining_seconds) == (0, 0)


def test_a_spent_budget_names_the_header_that_allows_more() -> None:
    info = Budget.of_ms(0).exceeded().info
    assert (info.status, info.code, info.type) == (504, "budget_exceeded", "timeout_error")
    assert info.hint is not None
    assert "X-Maloca-Budget-Ms" in info.hint
