"""Tokenizers built from GGUF metadata, against hand-made truths and a runtime's own tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from tests.engine.store.gguf_writer import chat_metadata, gguf
from tokenizers import Tokenizer

from maloca.core.errors import ModelFailed
from maloca.engine.store.byte_level import byte_alphabet
from maloca.engine.store.gguf_header import read_gguf_header
from maloca.engine.store.gguf_tokenizer import BuiltTokenizer, build_tokenizer
from maloca.engine.store.store import ModelStore

TEXTS: Final = {
    "spanish": "El niño corrió 1234 kilómetros; ¿qué año?, ¡sí! Pingüino, “comillas” — y más…",
    "bora": "Tsɨ́ɨme ɨ́ɨcúi pátyeeve. Mɨ́amúnáa ʔáábájá tʃɨ̀ʔtʃɨ; dsɨ́jɨvébanee, ɨ́htsɨ́ɨtuube (kʷàʔà).",
    "decomposed": "n\u0303 e\u0301 ɨ\u0301 u\u0308 — ñ é",
    "emoji": "😀👩‍👩‍👧‍👦🇵🇪👍🏽 ok ❤️",
    "scripts": "漢字かな交じり文。한국어 문장 العربية עברית हिन्दी ภาษาไทย Ελληνικά кириллица",
    "code": "def f(x):\n    return {'a': x**2, \"b\": [1,2]}  # it's we'll I'VE\n\tif x!=0x1F:\n",
    "numbers": "3.14159 1,000,000 2024-05-17 ½ Ⅷ ٣٤ ①② 10^9 -7",
    "spaces": "  a   b\t\tc\n\n\n   d \u00a0\u2003e\r\n\r\n f   ",
    "control": "<|im_start|>user\nhola<|im_end|>\n<|endoftext|><repo_name>x",
    "bytes": "\x00\x01\x7f\u0080\ufeff\u200b\ufffd",
}


def build(folder: Path, **changes: Any) -> BuiltTokenizer:
    """Return the tokenizer of the tiny model with some of its metadata changed."""
    path = folder / "model.gguf"
    path.write_bytes(gguf(chat_metadata(**changes)))
    return build_tokenizer(read_gguf_header(path))


def pieces(built: BuiltTokenizer, text: str) -> list[str]:
    """Return how the tokenizer splits a text before any merge."""
    tokenizer = Tokenizer.from_str(built.json)
    normalised = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    alphabet = {char: byte for byte, char in enumerate(byte_alphabet())}
    return [
        bytes(alphabet[char] for char in piece).decode()
        for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalised)
    ]


def test_the_alphabet_has_a_letter_for_each_byte() -> None:
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert (alphabet[ord("A")], alphabet[ord(" ")], alphabet[ord("\n")]) == ("A", "Ġ", "Ċ")
    assert alphabet[0xAD] == "Ń"


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_survives_the_round_trip(tmp_path: Path, text: str) -> None:
    tokenizer = Tokenizer.from_str(build(tmp_path).json)
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_merges_control_tokens_and_user_tokens_work(tmp_path: Path) -> None:
    built = build(tmp_path)
    tokenizer = Tokenizer.from_str(built.json)
    assert tokenizer.encode("th").ids == [256]
    assert tokenizer.encode("<|im_start|>t<mask>").ids == [257, ord("t"), 259]
    # Content is encoded with special tokens off: what users spell stays text.
    tokenizer.encode_special_tokens = True
    assert tokenizer.encode("<|im_end|>").ids == list(b"<|im_end|>")
    assert (built.bos_token_id, built.stop_token_ids) == (None, [258])


@pytest.mark.parametrize(
    ("pre", "text", "expected"),
    [
        ("gpt-2", "it's 123  a", ["it", "'s", " 123", " ", " a"]),
        ("default", "x 12", ["x", " 12"]),
        (None, "x 12", ["x", " 12"]),
        ("smollm", "it's 123  a", ["it", "'s", " ", "1", "2", "3", " ", " a"]),
        ("starcoder", "a12", ["a", "1", "2"]),
        ("qwen2", "It'S 123\n\n a.", ["It", "'S", " ", "1", "2", "3", "\n\n", " a", "."]),
        ("qwen2", "n\u0303", ["ñ"]),
        ("llama-bpe", "It'S 12345\n a", ["It", "'S", " ", "123", "45", "\n", " a"]),
        ("llama-bpe", "n\u0303", ["n", "\u0303"]),
    ],
)
def test_each_family_splits_in_its_own_way(
    tmp_path: Path, pre: str | None, text: str, expected: list[str]
) -> None:
    assert pieces(build(tmp_path, tokenizer__ggml__pre=pre), text) == expected


def test_the_beginning_token_follows_the_file_then_the_family(tmp_path: Path) -> None:
    asked = {"tokenizer__ggml__add_bos_token": True}
    refused = {"tokenizer__ggml__add_bos_token": False}
    llama = {"tokenizer__ggml__pre": "llama-bpe"}
    assert build(tmp_path, **asked).bos_token_id == 257
    assert build(tmp_path, **llama).bos_token_id == 257
    assert build(tmp_path, **llama, **refused).bos_token_id is None
    assert build(tmp_path, **asked, tokenizer__ggml__bos_token_id=None).bos_token_id is None


def test_llama_takes_a_whole_word_before_it_merges(tmp_path: Path) -> None:
    tokens = [*byte_alphabet(), "th", "the", "<|eot_id|>"]
    changes: dict[str, Any] = {
        "tokenizer__ggml__tokens": tokens,
        "tokenizer__ggml__token_type": [1] * 258 + [3],
        "tokenizer__ggml__eos_token_id": 258,
    }
    plain = Tokenizer.from_str(build(tmp_path, **changes).json)
    whole = Tokenizer.from_str(build(tmp_path, **changes, tokenizer__ggml__pre="llama-bpe").json)
    assert plain.encode("the").ids == [256, ord("e")]
    assert whole.encode("the").ids == [257]


def test_the_end_of_a_turn_stops_beside_the_end_of_text(tmp_path: Path) -> None:
    tokens = [*byte_alphabet(), "th", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    built = build(
        tmp_path,
        tokenizer__ggml__tokens=tokens,
        tokenizer__ggml__token_type=[1] * 257 + [3, 3, 3],
        tokenizer__ggml__eos_token_id=259,
        tokenizer__ggml__eot_token_id=1,
    )
    assert built.stop_token_ids == [1, 258, 259]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokenizer__ggml__model": "llama"}, "kind 'llama', which is not supported"),
        ({"tokenizer__ggml__model": None}, "it has no tokenizer.ggml.model"),
        ({"tokenizer__ggml__model": 5}, "tokenizer.ggml.model is not a str"),
        ({"tokenizer__ggml__pre": "tekken"}, "in the way 'tekken', which is not supported"),
        ({"tokenizer__ggml__tokens": None}, "it has no tokenizer.ggml.tokens"),
        ({"tokenizer__ggml__tokens": [1, 2]}, "something other than str"),
        ({"tokenizer__ggml__tokens": ["a", "a"]}, "2 tokens have 260 types"),
        ({"tokenizer__ggml__merges": ["xq zz"]}, "cannot be built"),
        ({"tokenizer__ggml__merges": ["alone"]}, "one part only"),
        ({"tokenizer__ggml__eos_token_id": 999}, "is 999, and there are 260 tokens"),
        ({"tokenizer__ggml__eos_token_id": "x"}, "is not a int"),
        (
            {"tokenizer__ggml__eos_token_id": None, "tokenizer__ggml__token_type": [1] * 260},
            "no token that ends an answer",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelFailed, match=said) as caught:
        build(tmp_path, **changes)
    assert "model.gguf" in caught.value.info.message
    assert caught.value.info.hint


def test_a_token_twice_is_refused(tmp_path: Path) -> None:
    tokens = [*byte_alphabet(), "th", "th", "<|im_end|>", "<mask>"]
    with pytest.raises(ModelFailed, match="two of its tokens are the same"):
        build(tmp_path, tokenizer__ggml__tokens=tokens)


@pytest.fixture(scope="module")
def both(real_store: ModelStore) -> tuple[Tokenizer, Any]:
    """Return our tokenizer of the bundled chat model, and the runtime's from the same file."""
    openvino_genai = pytest.importorskip("openvino_genai")
    model = real_store.get("smollm2-135m-instruct")
    return Tokenizer.from_file(str(model.tokenizer)), openvino_genai.Tokenizer(str(model.weights))


@pytest.mark.real
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_ids_equal_those_of_the_runtimes_own_tokenizer(
    both: tuple[Tokenizer, Any], text: str
) -> None:
    ours, theirs = both
    expected = theirs.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
    assert ours.encode(text, add_special_tokens=False).ids == expected
