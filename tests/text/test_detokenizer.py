from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies
from tests.text.vocabularies import KINDS, library

from maloca.text.detokenizer import Detokenizer
from maloca.text.reference import REFERENCE_TEXT
from maloca.text.tokenizer import Tokenizer

TOKENIZERS = {kind: Tokenizer(make()) for kind, make in KINDS.items()}
BYTES = {
    token_id: text for text, token_id in library(vocabularies.byte_level()).get_vocab().items()
}


def streamed(tokenizer: Tokenizer, chunks: list[list[int]]) -> str:
    detokenizer = Detokenizer(tokenizer)
    return "".join(map(detokenizer.feed, chunks)) + detokenizer.flush()


def byte_ids(data: bytes) -> list[int]:
    """Return one token per byte, so that every character of several bytes is cut."""
    alphabet = {bytes(raw): token for token, raw in raw_bytes()}
    return [alphabet[bytes([byte])] for byte in data]


def raw_bytes() -> Iterator[tuple[int, bytes]]:
    """Yield the tokens of one byte: GPT-2's table writes unprintable bytes as letters above 255."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table |= {chr(256 + index): byte for index, byte in enumerate(others)}
    yield from ((i, bytes([table[text]])) for i, text in BYTES.items() if len(text) == 1)


def splits(ids: list[int]) -> Iterator[list[list[int]]]:
    """Yield every way to cut a sequence into steps."""
    for count in range(len(ids)):
        for cuts in itertools.combinations(range(1, len(ids)), count):
            bounds = [0, *cuts, len(ids)]
            yield [ids[a:b] for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("text", ["ɨ́ʔ🔥", "a🇵🇪", "日本語", "ñ", "👩‍👩"])
def test_characters_survive_every_split_over_steps(text: str) -> None:
    ids = byte_ids(text.encode())
    tokenizer = TOKENIZERS["byte-level"]
    assert {streamed(tokenizer, split) for split in splits(ids)} == {text}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_of_single_tokens_gives_what_decoding_at_once_gives(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode_text(REFERENCE_TEXT)
    assert streamed(tokenizer, [[i] for i in ids]) == tokenizer.decode(ids)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_model_says_streams_to_what_decoding_at_once_gives(
    kind: str, data: st.DataObject
) -> None:
    """Models do produce invalid UTF-8, control tokens amid the text and ids beyond the table."""
    tokenizer = TOKENIZERS[kind]
    some_id = st.integers(0, tokenizer.vocab_size + 3)
    ids = data.draw(st.lists(some_id, max_size=20))
    said, whole = streamed(tokenizer, [[i] for i in ids]), tokenizer.decode(ids)
    # With byte fallback, a bad byte spoils the good ones before it, but only if they come at once.
    if kind != "byte-fallback" or "\ufffd" not in whole:
        assert said.rstrip("\ufffd") == whole.rstrip("\ufffd")


@pytest.mark.parametrize("end", [1, 2, 3])
def test_an_unfinished_character_at_the_end_is_left_out(end: int) -> None:
    ids = byte_ids("fuego 🔥".encode()[: 6 + end])
    assert streamed(TOKENIZERS["byte-level"], [ids]) == "fuego "
    assert streamed(TOKENIZERS["byte-level"], [[i] for i in ids]) == "fuego "


def test_nothing_is_said_while_a_character_is_unfinished() -> None:
    detokenizer = Detokenizer(TOKENIZERS["byte-level"])
    said = [detokenizer.feed([i]) for i in byte_ids("a🔥b".encode())]
    assert said == ["a", "", "", "", "🔥", "b"]
    assert detokenizer.flush() == ""


def test_invalid_bytes_become_replacement_characters_and_the_text_goes_on() -> None:
    ids = byte_ids(b"a\xff\xfeb\xe2\x82c")
    assert streamed(TOKENIZERS["byte-level"], [[i] for i in ids]) == "a\ufffd\ufffdb\ufffdc"


def test_bytes_that_a_later_one_spoils_do_not_end_the_answer() -> None:
    """The library's own stream decoder raises here."""
    tokenizer = TOKENIZERS["byte-fallback"]
    bad = [tokenizer.library.token_to_id(piece) for piece in ("<0x61>", "<0x80>", "<0xC3>")]
    words = tokenizer.library.encode("la casa", add_special_tokens=False).ids
    assert streamed(tokenizer, [[i] for i in [*words, *bad, *words, *words]]) == (
        "la casaa\ufffd\ufffd la casa la casa"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_have_no_text(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    [first, *_] = sorted(tokenizer._control_ids)
    ids = tokenizer.encode_text("la maloca")
    spread = [first, *itertools.chain.from_iterable((i, first) for i in ids)]
    assert streamed(tokenizer, [[i] for i in spread]) == tokenizer.decode(ids)
