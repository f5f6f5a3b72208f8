from __future__ import annotations

import re

import pytest

from maloca.core.ids import accept_id, new_id


def test_new_ids_are_long_random_and_safe() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{24}", found) for found in ids)


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_a_safe_id_of_the_caller_is_kept(given: str) -> None:
    assert accept_id(given) == given


@pytest.mark.parametrize(
    "given", [None, "", "x" * 65, "a b", "a\n", "ñ", "<script>", "a/b", "a\r\nX: y", "٣"]
)
def test_anything_else_is_replaced(given: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{24}", accept_id(given))
