"""Two requests share a key only if nothing that decides their answer differs."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.inference.cache.answers import request

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.core.messages import Message
from maloca.core.sampling import Sampling
from maloca.server.inference.cache.keys import is_repeatable, key_of

OTHER_SAMPLING: dict[str, Any] = {
    "max_new_tokens": 7,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "seed": 7,
    "stop": ("x",),
    "ignore_eos": True,
}
OTHER_REQUEST: dict[str, Any] = {
    "model": "other",
    "messages": [Message("system", "hola")],
    "provider": "engine",
    "privacy": "cloud-allowed",
}


def key(wanted: CompletionRequest, tenant: str = "user:a", identity: str = "fake|1") -> str:
    return key_of(wanted, tenant=tenant, identity=identity)


def test_every_parameter_is_part_of_the_key() -> None:
    assert set(OTHER_SAMPLING) == set(Sampling.__struct_fields__)
    keys = [key(request())]
    keys += [key(request(**{name: value})) for name, value in OTHER_SAMPLING.items()]
    changed = [dataclasses.replace(request(), **{n: v}) for n, v in OTHER_REQUEST.items()]
    keys += [key(wanted) for wanted in changed]
    keys += [key(request(), tenant="user:b"), key(request(), identity="fake|2")]
    assert len(set(keys)) == len(keys)
    assert all(len(found) == 64 for found in keys)


def test_what_decides_nothing_is_not() -> None:
    same = dataclasses.replace(
        request(), id="another", flow="somebody", budget=Budget.of_ms(5), cache_prompt=False
    )
    assert key(same) == key(request())
    decisive = set(OTHER_REQUEST) | {"sampling"}
    fields = {field.name for field in dataclasses.fields(CompletionRequest)}
    assert fields - decisive == {"id", "flow", "budget", "cache_prompt"}


ROLES = st.sampled_from(["system", "user", "assistant"])
TURNS = st.lists(st.builds(Message, ROLES, st.text(max_size=8)), min_size=1, max_size=4)
TENANTS = st.text(max_size=12)


@given(TENANTS, TURNS, TENANTS, TURNS)
def test_no_text_makes_one_request_look_like_another(
    tenant: str, turns: list[Message], other_tenant: str, other_turns: list[Message]
) -> None:
    one = key(CompletionRequest(model="m", messages=turns), tenant=tenant)
    other = key(CompletionRequest(model="m", messages=other_turns), tenant=other_tenant)
    assert (one == other) == ((tenant, turns) == (other_tenant, other_turns))


@pytest.mark.parametrize(
    ("sampling", "repeatable"),
    [
        ({"temperature": 0.0}, True),
        ({"temperature": 0.7}, False),
        ({"temperature": 0.7, "seed": 0}, True),
    ],
)
def test_only_sure_answers_are_repeatable(sampling: dict[str, Any], repeatable: bool) -> None:
    assert is_repeatable(request(**sampling)) is repeatable


def test_a_struct_is_encoded_with_all_its_fields() -> None:
    """Fields at their defaults must not vanish from the key."""
    assert msgspec.structs.asdict(Sampling()).keys() == set(Sampling.__struct_fields__)
