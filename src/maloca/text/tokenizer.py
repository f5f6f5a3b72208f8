"""A tokenizer that never mistakes a user's words for control tokens.

A chat template mixes control tokens (`<|im_end|>`) with what people wrote. Before rendering,
whatever a person wrote that spells a control token is replaced by a mark made of Unicode
noncharacters; when the rendered prompt is encoded, only control tokens outside marks become
control tokens, and the marks become the plain text that they stand for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer as _Tokenizer

_MARK_START: Final = "\ufdd0"
_MARK_END: Final = "\ufdd1"


class Marks:
    """The words of one conversation that look like control tokens, kept aside."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._words: list[str] = []

    def cover(self, text: str) -> str:
        """Return the text with every look-alike replaced by a mark."""
        return self._pattern.sub(self._mark, text)

    def uncover(self, text: str) -> str:
        """Return the text with every mark replaced by what it stands for."""
        return _MARK.sub(lambda match: self._words[int(match[1])], text) if self._words else text

    def _mark(self, match: re.Match[str]) -> str:
        self._words.append(match[0])
        return f"{_MARK_START}{len(self._words) - 1}{_MARK_END}"


_MARK: Final = re.compile(f"{_MARK_START}([0-9]+){_MARK_END}")


class Tokenizer:
    """Wraps a `tokenizer.json`: prompts with control tokens, plain text, and decoding."""

    def __init__(self, source: str) -> None:
        """Take the text of a `tokenizer.json`.

        Raises:
            ValueError: It is not one.
        """
        try:
            added: list[dict[str, Any]] = json.loads(source).get("added_tokens") or []
            self.library = _Tokenizer.from_str(source)
        except Exception as error:  # tokenizers raises bare Exception
            raise ValueError(f"not a tokenizer.json: {error}") from error
        self.library.no_truncation()
        self.library.no_padding()
        # From here on the library reads text that spells a control token as plain text.
        self.library.encode_special_tokens = True
        special = [token for token in added if token["special"]]
        self._control = {t["content"]: int(t["id"]) for t in special}
        self._control_ids = frozenset(self._control.values())
        self._split = re.compile(_alternatives(special))
        looks_like = sorted(map(re.escape, self._control), key=len, reverse=True)
        self._lookalike = re.compile("|".join([*looks_like, _MARK_START, _MARK_END]))

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a `tokenizer.json`.

        Raises:
            ValueError: The file is not one.
        """
        return cls(path.read_text(encoding="utf-8"))

    @property
    def vocab_size(self) -> int:
        """Number of tokens, control tokens included."""
        return int(self.library.get_vocab_size(with_added_tokens=True))

    def control_text(self, token_id: int | None) -> str:
        """Return how a control token is spelt; empty for None or an unknown id."""
        return "" if token_id is None else str(self.library.id_to_token(token_id) or "")

    def marks(self) -> Marks:
        """Start covering the words of a conversation that look like control tokens."""
        return Marks(self._lookalike)

    def encode_prompt(self, rendered: str, marks: Marks) -> list[int]:
        """Encode a rendered template; control tokens count only outside marks."""
        ids: list[int] = []
        position = 0
        for match in self._split.finditer(rendered):
            ids += self.encode_text(marks.uncover(rendered[position : match.start()]))
            spelt = match[0] if match[0] in self._control else match[0].strip()
            ids.append(self._control[spelt])
            position = match.end()
        return ids + self.encode_text(marks.uncover(rendered[position:]))

    def encode_text(self, text: str) -> list[int]:
        """Encode plain text: no control token comes out, whatever the text spells."""
        ids = self._encode(text)
        if self._control_ids.isdisjoint(ids):
            return ids
        # Unigram vocabularies hold control tokens as ordinary pieces; cutting the words that
        # spell them after their first character keeps such a piece from being found.
        cuts = [match.start() + 1 for match in self._lookalike.finditer(text)]
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return [token_id for part in parts for token_id in self._encode(part)]

    def encode_for_embedding(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts with the model's own sentence markers; look-alikes stay text."""
        return [
            self._wrap(text, list(encoding.ids), list(encoding.special_tokens_mask))
            for text, encoding in zip(
                texts, self.library.encode_batch(list(texts), add_special_tokens=True), strict=True
            )
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids; control tokens have none."""
        return str(self.library.decode(list(ids), skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        return list(self.library.encode(text, add_special_tokens=False).ids) if text else []

    def _wrap(self, text: str, ids: list[int], is_marker: list[int]) -> list[int]:
        """Return the ids as they are, unless the text itself made a control token."""
        inside = [token_id for token_id, marker in zip(ids, is_marker, strict=True) if not marker]
        if self._control_ids.isdisjoint(inside):
            return ids
        before = is_marker.index(0)
        after = len(ids) - before - len(inside)
        return ids[:before] + self.encode_text(text) + ids[len(ids) - after :]


def _alternatives(tokens: Sequence[dict[str, Any]]) -> str:
    """Return a pattern that matches control tokens, longest first, with the space they eat."""
    parts = [
        (r"\s*" if token.get("lstrip") else "")
        + re.escape(token["content"])
        + (r"\s*" if token.get("rstrip") else "")
        for token in sorted(tokens, key=lambda token: len(token["content"]), reverse=True)
    ]
    return "|".join(parts) or r"(?!)"
