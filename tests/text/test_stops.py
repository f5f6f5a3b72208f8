from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maloca.text.stops import StopCutter

LETTERS = st.text(alphabet="ab\n🔥", max_size=24)
STOPS = st.lists(st.text(alphabet="ab\n🔥", min_size=1, max_size=5), min_size=1, max_size=4)


def stream(text: str, cuts: list[int], stops: list[str]) -> tuple[str, bool]:
    """Feed a text cut at those places; return what came out, and whether a stop was found."""
    cutter = StopCutter(stops)
    bounds = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    parts = [text[a:b] for a, b in itertools.pairwise(bounds)]
    said = "".join(map(cutter.feed, parts))
    stopped = cutter.stopped
    return said + cutter.flush(), stopped


def cut(text: str, stops: list[str]) -> tuple[str, bool]:
    """Say what must come out: the text up to the stop string that is complete first."""
    for end in range(1, len(text) + 1):
        found = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: min(found)], True
    return text, False


@given(text=LETTERS, stops=STOPS, cuts=st.lists(st.integers(0, 24), max_size=24))
@settings(max_examples=500, deadline=None)
def test_every_split_gives_the_text_before_the_first_complete_stop(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    said, stopped = stream(text, cuts, stops)
    assert (said, stopped) == cut(text, stops)
    assert not any(stop in said for stop in stops)


@pytest.mark.parametrize("cuts", [[], list(range(10)), [4]], ids=["whole", "letters", "two"])
@pytest.mark.parametrize(
    ("text", "stops", "said"),
    [
        ("abcdefgh", ["bcd", "abcdef"], "a"),
        ("abcdefgh", ["cd", "abcd"], ""),
        ("aaab", ["aab"], "a"),
        ("hola<|im", ["<|im_end|>"], "hola<|im"),
        ("hola", ["hola"], ""),
        ("hola", ["", "a"], "hol"),
        ("hola", [], "hola"),
    ],
)
def test_overlapping_stops(text: str, stops: list[str], said: str, cuts: list[int]) -> None:
    assert stream(text, cuts, stops)[0] == said


def test_what_cannot_become_a_stop_is_said_at_once() -> None:
    cutter = StopCutter(["\n\nUser:"])
    assert [cutter.feed(part) for part in ("hola\n", "\nUs", "a", "\n\nUser", ":", "no")] == [
        "hola",
        "",
        "\n\nUsa",
        "",
        "",
        "",
    ]
    assert cutter.stopped
    assert cutter.flush() == ""


def test_nothing_follows_a_stop() -> None:
    cutter = StopCutter(["."])
    assert cutter.feed("one. two") == "one"
    assert cutter.feed("three") == ""
    assert cutter.flush() == ""
