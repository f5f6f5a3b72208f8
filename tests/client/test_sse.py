from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maloca.asgi.streaming import sse as write
from maloca.client import sse
from maloca.client.sse import EventTooLarge, read_events


async def in_chunks(data: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in itertools.pairwise(bounds):
        yield data[start:end]


async def read(data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    return [event async for event in read_events(in_chunks(data, cuts or []))]


@given(
    events=st.lists(
        st.tuples(st.text(st.characters(exclude_characters="\r\n", codec="utf-8")), st.booleans()),
        max_size=6,
    ),
    cuts=st.lists(st.integers(0, 200), max_size=30),
    crlf=st.booleans(),
)
@settings(max_examples=200, deadline=None)
async def test_every_split_gives_the_same_events(
    events: list[tuple[str, bool]], cuts: list[int], crlf: bool
) -> None:
    data = b"".join(
        write(text.encode(), "delta") + (b": keep-alive\n\n" if comment else b"")
        for text, comment in events
    )
    if crlf:
        data = data.replace(b"\n", b"\r\n")
    assert await read(data, cuts) == [text.encode() for text, _ in events]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b": only a comment\n\n", []),
        (b"event: x\nid: 3\nretry: 5\n\n", []),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a \n\n", [b" a "]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\n\ndata: unfinished", [b"a"]),
        (b"data: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"DATA: a\n\n", []),
        (b"data: \xff\xfe\n\n", [b"\xff\xfe"]),
    ],
)
async def test_single_streams(data: bytes, events: list[bytes]) -> None:
    assert await read(data) == events
    assert await read(data, list(range(len(data)))) == events


async def test_an_event_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 100)
    assert await read(b"data: " + b"x" * 80 + b"\n\n") == [b"x" * 80]
    with pytest.raises(EventTooLarge, match="100 bytes"):
        await read(b"data: " + b"x" * 200, [50, 120])
