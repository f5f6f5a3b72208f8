"""Small tokenizers of each kind that models come with, made here rather than downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from maloca.text.reference import REFERENCE_TEXT

CONTROL: Final = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


def control(text: str, **options: bool) -> AddedToken:
    return AddedToken(text, special=True, normalized=False, **options)


@cache
def byte_level() -> str:
    """Return a byte-level BPE with merges, as GPT-2, SmolLM and Qwen have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[control(text) for text in CONTROL],
    )
    tokenizer.train_from_iterator([REFERENCE_TEXT], trainer)
    return str(tokenizer.to_str())


@cache
def byte_fallback() -> str:
    """Return a BPE that spells unknown characters in bytes, as Llama 2 and Gemma have."""
    letters = sorted(
        {*"▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ<>|_/[]().,!?¿0123456789"}
    )
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "▁h", "▁ho", "la"])}
    merges = [("▁", "h"), ("▁h", "o"), ("l", "a")]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True)  # noqa: S106 - not a password
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([control("<unk>"), control("<s>"), control("</s>")])
    return str(tokenizer.to_str())


@cache
def unigram() -> str:
    """Return a Unigram whose control tokens are ordinary pieces too, as T5 and XLM-R have."""
    letters = sorted(set(REFERENCE_TEXT.replace(" ", "▁").replace("\n", "")))
    pieces = [("<unk>", 0.0), ("<s>", -1.0), ("</s>", -1.0), ("▁casa", -2.0)]
    pieces += [(letter, -5.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens([control("<s>"), control("</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return str(tokenizer.to_str())


@cache
def wordpiece() -> str:
    """Return a WordPiece with sentence markers, as BERT has."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "la", "maloca", "##s", "[", "]", "sep"]
    tokenizer = Tokenizer(
        models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]")  # noqa: S106 - not a password
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([control(word) for word in words[:5]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return str(tokenizer.to_str())


@cache
def greedy_spaces() -> str:
    """Return a byte-level BPE whose control tokens eat the space around them, as Phi has."""
    tokenizer = Tokenizer.from_str(byte_level())
    tokenizer.add_special_tokens(
        [
            control("<|left|>", lstrip=True),
            control("<|right|>", rstrip=True),
            control("<|both|>", lstrip=True, rstrip=True),
        ]
    )
    return str(tokenizer.to_str())


KINDS: Final[dict[str, Callable[[], str]]] = {
    "byte-level": byte_level,
    "byte-fallback": byte_fallback,
    "unigram": unigram,
    "wordpiece": wordpiece,
    "greedy-spaces": greedy_spaces,
}


def library(source: str) -> Any:
    """Return the library's own tokenizer, which reads control tokens wherever they stand."""
    return Tokenizer.from_str(source)
