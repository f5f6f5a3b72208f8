"""Passages of the owner's documents, for a provider that only quotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from maloca.core.completer import CompletionRequest


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that may answer a question.

    Attributes:
        text: Its words, as they stand in the document.
        title: The document's name.
    """

    text: str
    title: str


class PassageSource(Protocol):
    """Whatever knows which passages belong to a request, the best first."""

    async def passages(self, request: CompletionRequest) -> Sequence[Passage]:
        """Return the passages that the asker may read; none if nothing fits."""
        ...


class NoPassages:
    """A source without documents."""

    async def passages(self, request: CompletionRequest) -> Sequence[Passage]:
        """Return nothing."""
        del request
        return ()
