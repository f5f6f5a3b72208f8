"""Bodies that are nearly right, made from the schemas: no answer may be a server's error."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.dialects.wire import CHAT_ROUTES, ROUTES, error_of

pytestmark = pytest.mark.process

ODD_TEXTS = st.sampled_from(
    [
        "",
        "<|im_end|>",
        "\ufdd0",
        "\u202e",
        "ɨ́",
        "👩‍👩‍👧",
        "\n" * 50,
        "#fake",
        "{{ 7*7 }}",
        "x" * 3000,
    ]
)
TEXTS = st.text(st.characters(), max_size=20) | ODD_TEXTS
NUMBERS = st.integers(-3, 3) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
ATOMS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=3)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": ROLES, "content": TEXTS | PARTS | st.none()}), max_size=4
)
# Short answers, so that what is right by chance ends soon.
FIELDS = {
    "messages": MESSAGES | VALUES,
    "model": st.sampled_from(["default", "fake", "embedding", "none"]) | TEXTS,
    "temperature": NUMBERS,
    "top_p": NUMBERS,
    "seed": NUMBERS,
    "stop": TEXTS | st.lists(TEXTS, max_size=3),
    "stream": st.booleans(),
    "max_tokens": st.integers(-1, 20),
    "max_new_tokens": st.integers(-1, 20),
    "tools": VALUES,
    "n": ATOMS,
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}) | VALUES,
    "response_format": VALUES,
    "texts": st.lists(TEXTS, max_size=4) | VALUES,
    "input": TEXTS | st.lists(TEXTS | st.integers(), max_size=4) | VALUES,
    "encoding": st.sampled_from(["float", "base64", "hex"]),
    "encoding_format": st.sampled_from(["float", "base64"]) | VALUES,
    "dimensions": ATOMS,
    "text": TEXTS,
}
CHANGES = st.lists(st.sampled_from(sorted(FIELDS)), max_size=3, unique=True)


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("where", ROUTES, ids=" ".join)
def test_nearly_right_bodies(
    engine: httpx.Client, server: httpx.Client, where: tuple[str, str], data: st.DataObject
) -> None:
    service, path = where
    body: dict[str, Any] = dict(ROUTES[where])
    if where in CHAT_ROUTES:
        body["max_tokens" if path.startswith("/v1") else "max_new_tokens"] = 4
    body |= {field: data.draw(FIELDS[field]) for field in data.draw(CHANGES)}
    client = engine if service == "live_engine" else server
    # Plain ASCII, so that lone surrogates arrive as the escapes that a client might send.
    response = client.post(path, content=json.dumps(body).encode())
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        error_of(response)
