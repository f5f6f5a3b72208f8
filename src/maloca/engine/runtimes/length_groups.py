"""Which texts of a batch are run together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def length_groups(
    lengths: Sequence[int], *, max_tokens: int, max_padding: int
) -> Iterator[list[int]]:
    """Yield groups of positions such that texts of about the same length stand together.

    A group is as wide as its longest text. It holds at most `max_tokens` tokens with its
    padding, but always one text, and at most `max_padding` tokens of padding. Every position
    appears exactly once, the longest texts first.
    """
    group: list[int] = []
    width = padding = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        missing = width - lengths[position]
        full = (len(group) + 1) * width > max_tokens or padding + missing > max_padding
        if group and full:
            yield group
            group = []
        if not group:
            width, padding, missing = lengths[position], 0, 0
        group.append(position)
        padding += missing
    if group:
        yield group
