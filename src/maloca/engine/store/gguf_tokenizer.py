"""Building a tokenizer in Hugging Face's format from what a GGUF file carries.

Sources: the GGUF specification ("Tokenizer"), and the published `tokenizer.json` of each family
for how it splits text before byte-pair encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maloca.core.errors import ModelFailed
from maloca.engine.store.gguf_header import GgufHeader

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

_CONTROL: Final = 3
_USER_DEFINED: Final = 4

# Tokens that end a turn in the templates of common families, by their text.
_ENDS_OF_TURN: Final = frozenset(
    {
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|end_of_text|>",
        "<end_of_turn>",
        "<EOT>",
    }
)

_QWEN2: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3: Final = _QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


@dataclass(frozen=True, slots=True)
class _Family:
    """How a family of byte-level BPE tokenizers prepares text.

    Attributes:
        pre: Makes the pre-tokenizer.
        compose: Whether text is first brought into Unicode's NFC.
        whole_words: Whether a piece that is a token itself is taken before any merge.
        adds_bos: What `add_bos_token` is where the file does not say.
    """

    pre: Callable[[], PreTokenizer]
    compose: bool = False
    whole_words: bool = False
    adds_bos: bool = False


# The library takes 50 ms to import, which only a pull should pay: hence the local imports.


def _gpt2() -> PreTokenizer:
    from tokenizers.pre_tokenizers import ByteLevel  # noqa: PLC0415 - see above

    return ByteLevel(add_prefix_space=False, use_regex=True)


def _digits_apart() -> PreTokenizer:
    from tokenizers.pre_tokenizers import Digits, Sequence  # noqa: PLC0415

    return Sequence([Digits(individual_digits=True), _gpt2()])


def _split_by(pattern: str) -> Callable[[], PreTokenizer]:
    def make() -> PreTokenizer:
        from tokenizers import Regex  # noqa: PLC0415
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split  # noqa: PLC0415

        split = Split(Regex(pattern), behavior="isolated")
        return Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])

    return make


_LLAMA3_FAMILY: Final = _Family(_split_by(_LLAMA3), whole_words=True, adds_bos=True)
_FAMILIES: Final = {
    "default": _Family(_gpt2),
    "gpt-2": _Family(_gpt2),
    "smollm": _Family(_digits_apart),
    "starcoder": _Family(_digits_apart),
    "qwen2": _Family(_split_by(_QWEN2), compose=True),
    "llama-bpe": _LLAMA3_FAMILY,
    "llama-v3": _LLAMA3_FAMILY,
    "llama3": _LLAMA3_FAMILY,
}


@dataclass(frozen=True, slots=True)
class BuiltTokenizer:
    """A tokenizer and what the text layer must know beside it.

    Attributes:
        json: The content of `tokenizer.json`.
        bos_token_id: Token that begins a text, or None when the model wants none.
        stop_token_ids: Tokens that end an answer, ascending.
    """

    json: str
    bos_token_id: int | None
    stop_token_ids: list[int]


def build_tokenizer(header: GgufHeader) -> BuiltTokenizer:
    """Return the tokenizer of a GGUF file whose vocabulary is byte-level BPE.

    Raises:
        ModelFailed: The kind of tokenizer is not supported, or its parts do not fit together.
    """
    family = _family(header)
    tokens = header.items("tokenizer.ggml.tokens", str)
    kinds = header.items("tokenizer.ggml.token_type", int, required=False) or [1] * len(tokens)
    if len(kinds) != len(tokens):
        raise _unfit(header, f"{len(tokens):,} tokens have {len(kinds):,} types")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise _unfit(header, "two of its tokens are the same")
    pairs = [
        _pair(header, merge) for merge in header.items("tokenizer.ggml.merges", str, required=False)
    ]
    try:
        tokenizer = _assemble(family, vocabulary, pairs, kinds)
    except (
        Exception
    ) as error:  # The library raises plain Exception for a merge outside the vocabulary.
        raise _unfit(header, str(error)) from error
    return BuiltTokenizer(
        json=str(tokenizer.to_str()),
        bos_token_id=_bos(header, family, len(tokens)),
        stop_token_ids=_stops(header, tokens, kinds),
    )


def _assemble(
    family: _Family, vocabulary: dict[str, int], merges: list[tuple[str, str]], kinds: list[int]
) -> Tokenizer:
    """Put the parts together as the family's own `tokenizer.json` does."""
    from tokenizers import (  # noqa: PLC0415
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
    )

    model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=family.whole_words)
    tokenizer = Tokenizer(model)
    if family.compose:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = family.pre()
    tokenizer.decoder = decoders.ByteLevel()
    for kind, special in ((_CONTROL, True), (_USER_DEFINED, False)):
        added = [
            AddedToken(token, special=special, normalized=False)
            for token, number in vocabulary.items()
            if kinds[number] == kind and token
        ]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(added)
    if tokenizer.get_vocab_size() != len(vocabulary):
        raise ValueError("adding its control tokens changed the vocabulary")
    return tokenizer


def _family(header: GgufHeader) -> _Family:
    """Return how the file's tokenizer splits text, or refuse a kind that is not known."""
    kind = header.text("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ModelFailed(
            f"{header.path} has a tokenizer of the kind {kind[:40]!r}, which is not supported.",
            hint="Supported is `gpt2` (byte-level BPE).",
        )
    pre = header.text("tokenizer.ggml.pre", "default")
    if pre not in _FAMILIES:
        raise ModelFailed(
            f"{header.path} splits text in the way {pre[:40]!r}, which is not supported.",
            hint=f"Supported are: {', '.join(_FAMILIES)}.",
        )
    return _FAMILIES[pre]


def _pair(header: GgufHeader, merge: str) -> tuple[str, str]:
    """Return the halves of a merge; the space that joins them is never a token's first letter."""
    cut = merge.find(" ", 1)
    if cut < 0:
        raise _unfit(header, f"its merge {merge[:40]!r} has one part only")
    return merge[:cut], merge[cut + 1 :]


def _bos(header: GgufHeader, family: _Family, size: int) -> int | None:
    """Return the token that begins a text, if the file or its family asks for one."""
    wanted = header.metadata.get("tokenizer.ggml.add_bos_token", family.adds_bos)
    if wanted is not True or "tokenizer.ggml.bos_token_id" not in header.metadata:
        return None
    return _token_id(header, "tokenizer.ggml.bos_token_id", size)


def _stops(header: GgufHeader, tokens: list[str], kinds: list[int]) -> list[int]:
    """Return the tokens that end an answer: those the file names, and the usual ends of a turn."""
    named = {
        _token_id(header, f"tokenizer.ggml.{role}_token_id", len(tokens))
        for role in ("eos", "eot", "eom")
        if f"tokenizer.ggml.{role}_token_id" in header.metadata
    }
    usual = {
        number
        for number, token in enumerate(tokens)
        if kinds[number] == _CONTROL and token in _ENDS_OF_TURN
    }
    if not named | usual:
        raise _unfit(header, "it names no token that ends an answer")
    return sorted(named | usual)


def _token_id(header: GgufHeader, key: str, size: int) -> int:
    """Return a token id of the metadata, and refuse one outside the vocabulary."""
    number = header.integer(key)
    if not 0 <= number < size:
        raise _unfit(header, f"{key} is {number}, and there are {size:,} tokens")
    return number


def _unfit(header: GgufHeader, fault: str) -> ModelFailed:
    return ModelFailed(
        f"The tokenizer of {header.path} cannot be built: {fault[:300]}.",
        hint="The file is damaged, or was made by a converter that Maloca does not know.",
    )
