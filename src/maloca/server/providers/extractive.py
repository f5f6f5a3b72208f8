"""An answer without a model: the sentences of retrieved passages that fit the question best.

Sentences are ranked by the share of the question's words that they hold, accents folded; that is
the plain overlap of H. P. Luhn's extracts (1958), with the question in place of the text's own
frequent words.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Literal

from maloca.core.completer import CompletionRequest
from maloca.core.events import Delta, Done, Event, Started, Timings, Usage
from maloca.server.providers.base import Declined
from maloca.server.providers.passages import Passage, PassageSource

MODEL: Final = "passages"
MAX_SENTENCES: Final = 3
_LABELS: Final = {
    "es": "Ningún modelo puede responder ahora. Esto dicen los documentos:",
    "en": "No model can answer now. This is what the documents say:",
}
# Frequent words that only one of the two languages has.
_SPANISH: Final = frozenset(
    {"el", "la", "los", "las", "de", "del", "que", "qué", "en", "y", "es", "por", "para", "cómo"}
)
_ENGLISH: Final = frozenset(
    {"the", "of", "and", "to", "in", "is", "are", "what", "how", "which", "who", "for", "does"}
)
_SENTENCE: Final = re.compile(r"(?<=[.!?…])\s+|\n+")
_WORD: Final = re.compile(r"\w+")
_MIN_WORD: Final = 3


class ExtractiveProvider:
    """Quotes passages and says so; without passages it declines."""

    name: Literal["extractive"] = "extractive"
    local = True
    model = MODEL
    secret: str | None = None

    def __init__(self, source: PassageSource) -> None:
        """Quote what a source finds."""
        self._source = source

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield a labelled quotation; see `Completer.complete`."""
        began = time.monotonic()
        passages = await self._source.passages(request)
        question = next((m.content for m in reversed(request.messages) if m.role == "user"), "")
        quotations = _best(passages, question)
        if not quotations:
            raise Declined("There are no passages to quote.", code="no_passages")
        yield Started(
            id=request.id, model=MODEL, created=int(time.time()), prompt_tokens=0, device="CPU"
        )
        label = _LABELS[_language(question)]
        lines = [f"- {sentence} ({title})" for sentence, title in quotations]
        yield Delta("\n\n".join([label, "\n".join(lines)]))
        yield Usage(prompt_tokens=0, completion_tokens=0)
        took = (time.monotonic() - began) * 1000
        yield Done(
            finish_reason="stop",
            timings=Timings(queue_ms=0.0, ttft_ms=took, total_ms=took, tokens_per_second=0.0),
        )

    async def check(self) -> None:
        """Do nothing: it needs nobody."""

    async def aclose(self) -> None:
        """Do nothing: it holds nothing."""


def _best(passages: Sequence[Passage], question: str) -> list[tuple[str, str]]:
    """Return sentences with their titles; without any overlap, the first one of the best passage.

    The order of equals is that of the passages.
    """
    asked = _words(question)
    sentences = [
        (" ".join(sentence.split()), passage.title)
        for passage in passages
        for sentence in _SENTENCE.split(passage.text)
        if sentence.strip()
    ]
    scored = [(len(asked & _words(sentence)), sentence, title) for sentence, title in sentences]
    scored.sort(key=lambda found: -found[0])
    fitting = [(sentence, title) for score, sentence, title in scored if score > 0]
    return list(dict.fromkeys(fitting))[:MAX_SENTENCES] or sentences[:1]


def _words(text: str) -> set[str]:
    """Return the words of a text without case and accents; short ones say nothing."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return {word for word in _WORD.findall(folded) if len(word) >= _MIN_WORD}


def _language(question: str) -> str:
    words = _WORD.findall(question.casefold())
    english = sum(word in _ENGLISH for word in words)
    return "en" if english > sum(word in _SPANISH for word in words) else "es"
