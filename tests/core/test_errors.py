from __future__ import annotations

from collections.abc import Iterator

import pytest

from maloca.core import errors
from maloca.core.errors import ErrorInfo, MalocaError


def tree(base: type[MalocaError] = MalocaError) -> Iterator[type[MalocaError]]:
    yield base
    for kind in base.__subclasses__():
        yield from tree(kind)


OURS = [kind for kind in tree() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", OURS)
def test_an_error_says_everything_that_a_caller_may_branch_on(kind: type[MalocaError]) -> None:
    info = kind("what", param="p", hint="h", retry_after=2).info
    assert info.message == "what"
    assert (info.status, info.code, info.type) == (kind.status, kind.code, kind.type)
    assert (info.param, info.hint, info.retry_after) == ("p", "h", 2)


@pytest.mark.parametrize("kind", OURS)
def test_the_tree_at_the_top_of_the_file_is_the_tree(kind: type[MalocaError]) -> None:
    assert errors.__doc__ is not None
    lines = [line for line in errors.__doc__.splitlines() if kind.__name__ in line.split()]
    assert len(lines) == 1
    assert kind is MalocaError or str(kind.status) in lines[0].split()


def test_an_error_survives_the_way_through_an_event() -> None:
    info = ErrorInfo(message="m", type="t", code="c", status=418, param="p", retry_after=1)
    error = info.to_exception()
    assert isinstance(error, MalocaError)
    assert error.info is info
    assert str(error) == "m"
