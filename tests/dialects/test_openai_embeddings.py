"""Embeddings and models through the official SDK."""

from __future__ import annotations

import base64
import struct
from typing import Any

import openai
import pytest
from openai import OpenAI


def test_embeddings_as_numbers_and_as_base64_are_the_same(client: OpenAI) -> None:
    texts = ["la maloca", "el fuego", "la maloca"]
    # The SDK asks for base64 by itself and decodes it.
    found = client.embeddings.create(model="embedding", input=texts)
    floats = client.embeddings.create(model="embedding", input=texts, encoding_format="float")
    encoded = client.embeddings.create(model="embedding", input=texts, encoding_format="base64")
    raw: Any = [item.embedding for item in encoded.data]
    assert [list(struct.unpack("<8f", base64.b64decode(text))) for text in raw] == [
        item.embedding for item in floats.data
    ]
    assert [item.embedding for item in found.data] == [item.embedding for item in floats.data]
    assert [item.index for item in found.data] == [0, 1, 2]
    first, second, third = (item.embedding for item in found.data)
    assert first == third != second
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-5)
    assert found.model == "fake-embedding"
    assert found.usage.total_tokens == found.usage.prompt_tokens == sum(len(t) for t in texts)


def test_one_text_and_its_dimensions(client: OpenAI) -> None:
    [item] = client.embeddings.create(model="embedding", input="hola", dimensions=8).data
    assert len(item.embedding) == 8
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="embedding", input="hola", dimensions=4)
    assert caught.value.param == "dimensions"


def test_token_ids_are_refused_with_advice(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="token ids") as caught:
        client.embeddings.create(model="embedding", input=[[1, 2, 3]])
    assert "check_embedding_ctx_length" in str(caught.value.body)


def test_models_are_listed_with_their_aliases(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["default", "embedding", "fake", "fake-embedding"]
    shown = client.models.retrieve("default")
    assert (shown.id, shown.object, shown.owned_by) == ("default", "model", "maloca")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")
