"""A fixed multilingual text on which two tokenizers must agree to be called the same."""

from typing import Final

REFERENCE_TEXT: Final = """\
La maloca es la casa larga donde vive toda la comunidad; ¿quién enciende el fuego?
Bora letters: ɨ ɨ́ ʔ tʃ dʒ ɡ ɯ β ts kʰ - Mééba, ímityú, pííchu, ihkya, tsaɨjpi.
English don't can't we'll I'm THE Quick-brown fox_jumps 12345 67,890.12 3e-7 0xFF
def f(x: int) -> dict[str, list[int]]:\n\treturn {"a": [x ** 2, ~x]}  # tab, 2  spaces
Ünïcödé ñandú coração žluťoučký Ελληνικά русский العربية עברית हिन्दी 中文字 日本語 한국어
Emoji 🙂👩‍👩‍👧 🇵🇪🔥 — “quotes” «comillas» … ‹x› № ½ ² ∑∞≠ \u00a0nbsp\u200bzw
   leading, trailing   \n\n\n  \t\t mixed\r\nlines\n<html>&amp;</html> $x^2$ a/b\\c @user #tag
"""
