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
from dataclasses import dataclass
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
            document = json.loads(source)
            self.library = _plain(source)
            self._amid, self._begins_once = _amid(document) or (self.library, False)
            special = [token for token in document.get("added_tokens") or [] if token["special"]]
        except Exception as error:  # tokenizers raises bare Exception
            raise ValueError(f"not a tokenizer.json: {error}") from error
        self._control = {token["content"]: _Control.of(token) for token in special}
        self._control_ids = frozenset(control.id for control in self._control.values())
        spelt = sorted(map(re.escape, self._control), key=len, reverse=True)
        self._split = re.compile("|".join(spelt) or r"(?!)")
        self._lookalike = re.compile("|".join([*spelt, _MARK_START, _MARK_END]))

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
        control: _Control | None = None
        for match in self._split.finditer(rendered):
            before = rendered[position : match.start()]
            following = self._control[match[0]]
            ids += self._encode_between(before, control, following, marks, begins=position == 0)
            ids.append(following.id)
            control, position = following, match.end()
        rest = rendered[position:]
        return ids + self._encode_between(rest, control, None, marks, begins=position == 0)

    def encode_text(self, text: str) -> list[int]:
        """Encode plain text: no control token comes out, whatever the text spells."""
        return self._encode_part(text, self.library)

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

    def _encode_between(
        self,
        text: str,
        before: _Control | None,
        after: _Control | None,
        marks: Marks,
        *,
        begins: bool,
    ) -> list[int]:
        """Encode what stands between two control tokens, less the spaces that they eat."""
        if before is not None and before.eats_right:
            text = text.lstrip()
        if after is not None and after.eats_left:
            text = text.rstrip()
        library = self.library if begins or not self._begins_once else self._amid
        return self._encode_part(marks.uncover(text), library)

    def _encode_part(self, text: str, library: _Tokenizer) -> list[int]:
        ids = _ids(library, text)
        if self._control_ids.isdisjoint(ids):
            return ids
        # Unigram vocabularies hold control tokens as ordinary pieces; cutting the words that
        # spell them after their first character keeps such a piece from being found.
        cuts = [match.start() + 1 for match in self._lookalike.finditer(text)]
        first, *parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        ids = _ids(library, first)
        for part in parts:
            ids += _ids(self._amid, part)
        return ids

    def _wrap(self, text: str, ids: list[int], is_marker: list[int]) -> list[int]:
        """Return the ids as they are, unless the text itself made a control token."""
        inside = [token_id for token_id, marker in zip(ids, is_marker, strict=True) if not marker]
        if self._control_ids.isdisjoint(inside):
            return ids
        before = is_marker.index(0)
        after = len(ids) - before - len(inside)
        return ids[:before] + self.encode_text(text) + ids[len(ids) - after :]


@dataclass(frozen=True, slots=True)
class _Control:
    """A control token, and whether it eats the white space before or after it."""

    id: int
    eats_left: bool
    eats_right: bool

    @classmethod
    def of(cls, token: dict[str, Any]) -> _Control:
        return cls(int(token["id"]), bool(token.get("lstrip")), bool(token.get("rstrip")))


def _plain(source: str) -> _Tokenizer:
    """Return the library's tokenizer, which reads text that spells a control token as text."""
    library = _Tokenizer.from_str(source)
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = True
    return library


def _amid(document: dict[str, Any]) -> tuple[_Tokenizer, bool] | None:
    """Return a tokenizer for text in the middle of a text, where that makes a difference.

    SentencePiece vocabularies put a space before a text. In the middle of one there is none, and
    with the scheme "first" (the second value) there is none after a control token either.
    """
    outer = document.get("pre_tokenizer") or {}
    steps = outer.get("pretokenizers") or [outer]
    spaces = [step for step in steps if step.get("prepend_scheme", "never") != "never"]
    if not spaces:
        return None
    once = any(step["prepend_scheme"] == "first" for step in spaces)
    for step in spaces:
        step["prepend_scheme"] = "never"
    return _plain(json.dumps(document)), once


def _ids(library: _Tokenizer, text: str) -> list[int]:
    return list(library.encode(text, add_special_tokens=False).ids) if text else []
