from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maloca.engine.runtimes.length_groups import length_groups

LENGTHS = st.lists(st.integers(1, 600), max_size=200)


@given(LENGTHS)
def test_each_text_is_in_exactly_one_group(lengths: list[int]) -> None:
    groups = list(length_groups(lengths, max_tokens=512, max_padding=16))
    assert all(groups)
    assert sorted(position for group in groups for position in group) == list(range(len(lengths)))


@given(LENGTHS)
def test_a_group_keeps_to_its_limits(lengths: list[int]) -> None:
    for group in length_groups(lengths, max_tokens=512, max_padding=16):
        width = max(lengths[position] for position in group)
        assert width * len(group) <= 512 or len(group) == 1
        assert width * len(group) - sum(lengths[position] for position in group) <= 16


def test_texts_of_one_length_fill_a_group() -> None:
    groups = length_groups([32] * 40, max_tokens=512, max_padding=16)
    assert [len(group) for group in groups] == [16, 16, 8]


def test_a_short_text_does_not_wait_beside_a_long_one() -> None:
    groups = length_groups([4, 200, 5, 198, 4], max_tokens=512, max_padding=16)
    assert [sorted(group) for group in groups] == [[1, 3], [0, 2, 4]]
