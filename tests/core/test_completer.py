from __future__ import annotations

import struct

import pytest
from tests.streams import DONE, STARTED, USAGE, Source

from maloca.core.completer import Embeddings, collect
from maloca.core.errors import ErrorInfo, MalocaError
from maloca.core.events import Cancelled, Delta, Event, Failed


async def test_a_whole_answer_is_its_deltas_joined() -> None:
    stream = Source(STARTED, Delta("la "), Delta("casa"), USAGE, DONE)
    answer = await collect(stream.events())
    assert (answer.text, answer.finish_reason) == ("la casa", "stop")
    assert (answer.started, answer.usage, answer.timings) == (STARTED, USAGE, DONE.timings)
    assert stream.closed


@pytest.mark.parametrize(
    ("events", "code", "status"),
    [
        (
            [Failed(ErrorInfo(message="no", code="worker_crashed", status=503))],
            "worker_crashed",
            503,
        ),
        ([STARTED, Delta("x"), Cancelled("the engine is stopping")], "cancelled", 503),
        ([STARTED, Delta("x")], "stream_broken", 503),
        ([STARTED, DONE], "stream_broken", 503),
        ([USAGE, DONE], "stream_broken", 503),
        ([], "stream_broken", 503),
        ([STARTED, ErrorInfo(message="no", code="x", status=418).to_exception()], "x", 418),
    ],
)
async def test_anything_else_is_one_error_and_the_stream_is_closed(
    events: list[Event | MalocaError], code: str, status: int
) -> None:
    stream = Source(*events)
    with pytest.raises(MalocaError) as caught:
        await collect(stream.events())
    assert (caught.value.info.code, caught.value.info.status) == (code, status)
    assert stream.closed


def test_embeddings_are_rows_of_little_endian_floats() -> None:
    found = Embeddings(model="m", dim=2, data=struct.pack("<6f", 1, 2, 3, 4, 5, 6), tokens=3)
    assert found.count == 3
    assert found.vectors == [[1, 2], [3, 4], [5, 6]]
