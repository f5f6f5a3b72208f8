"""Token ids to text while they arrive, without ever cutting a character in two."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers.decoders import DecodeStream

from maloca.text.tokenizer import Tokenizer


class Detokenizer:
    """Decodes one answer. Text is held back until its last character is whole."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._held: list[int] = []

    def feed(self, ids: Iterable[int]) -> str:
        """Return the text that these ids complete; empty while a character is unfinished."""
        parts: list[str] = []
        for token_id in ids:
            self._held.append(token_id)
            text = self._step(token_id)
            if text is not None:
                self._held.clear()
                parts.append(text)
        return "".join(parts)

    def flush(self) -> str:
        """Return what is left when no more ids come, less an unfinished character."""
        text = self._tokenizer.decode(self._held) if self._held else ""
        self._held.clear()
        return text.rstrip("\ufffd")

    def _step(self, token_id: int) -> str | None:
        try:
            return self._stream.step(self._tokenizer.library, token_id)
        except Exception:  # noqa: BLE001 - the library raises bare Exception
            # With byte fallback a bad byte turns the good ones before it into bad ones too, but
            # those have been said. What is held follows them as if it stood alone.
            self._stream = DecodeStream(list(self._held), skip_special_tokens=True)
            text = self._tokenizer.decode(self._held)
            return None if text.endswith("\ufffd") else text
