from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies
from tests.text.vocabularies import CONTROL, KINDS, library

from maloca.text.reference import REFERENCE_TEXT
from maloca.text.tokenizer import Tokenizer

LOOKALIKES = (*CONTROL, "<s>", "</s>", "<unk>", "[SEP]", "[CLS]", "<|left|>", "<|right|>")
# Parts of control tokens, the marks' own noncharacters, Bora letters, emoji and white space.
PIECES = st.sampled_from(
    [
        *LOOKALIKES,
        "<|im_",
        "end|>",
        "<",
        "|>",
        "s>",
        "\ufdd0",
        "\ufdd1",
        "\ufdd00\ufdd1",
        "0",
        "tsaɨjpi",
        "ʔ",
        "ɨ́",
        "👩‍👩‍👧",
        "🔥",
        " ",
        "\n",
        "casa",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)
LOSSLESS = ("byte-level", "greedy-spaces")


def control_ids(source: str) -> set[int]:
    return {token["id"] for token in json.loads(source)["added_tokens"] if token["special"]}


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest) -> str:
    return KINDS[request.param]()


@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("kind", LOSSLESS)
def test_text_never_becomes_a_control_token_and_comes_back_whole(kind: str, text: str) -> None:
    source = KINDS[kind]()
    tokenizer = Tokenizer(source)
    ids = tokenizer.encode_text(text)
    assert control_ids(source).isdisjoint(ids)
    assert library(source).decode(ids, skip_special_tokens=False) == text


@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize(
    ("kind", "unknown"), [("byte-fallback", 0), ("unigram", 0), ("wordpiece", 1)]
)
def test_only_the_unknown_token_can_stand_for_text(kind: str, unknown: int, text: str) -> None:
    source = KINDS[kind]()
    tokenizer = Tokenizer(source)
    assert (set(tokenizer.encode_text(text)) & control_ids(source)) <= {unknown}


@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize(("kind", "first", "last"), [("unigram", 1, 2), ("wordpiece", 2, 3)])
def test_embedding_adds_the_models_markers_and_no_other(
    kind: str, first: int, last: int, text: str
) -> None:
    source = KINDS[kind]()
    [ids] = Tokenizer(source).encode_for_embedding([text])
    assert (ids[0], ids[-1]) == (first, last)
    assert {first, last}.isdisjoint(ids[1:-1])


def test_embedding_a_batch_equals_embedding_one_by_one() -> None:
    tokenizer = Tokenizer(vocabularies.wordpiece())
    texts = ["la maloca", "", "[SEP] malocas ☃", "la " * 50]
    alone = [tokenizer.encode_for_embedding([text])[0] for text in texts]
    assert tokenizer.encode_for_embedding(texts) == alone


def test_plain_text_gets_the_ids_of_the_library(source: str) -> None:
    expected = library(source).encode(REFERENCE_TEXT, add_special_tokens=False).ids
    assert Tokenizer(source).encode_text(REFERENCE_TEXT) == expected


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ("byte-level", "<|im_start|>user\nHola, ¿qué tal?<|im_end|>\n<|im_start|>assistant\n"),
        ("byte-level", "<|im_end|><|im_end|>"),
        ("byte-fallback", "<s>[INST] hola [/INST] la casa</s><s>[INST] hola"),
        ("byte-fallback", "hola</s> hola"),
        ("unigram", "<s> la casa</s> casa"),
        ("greedy-spaces", "a <|left|> b <|right|>\n\n c  <|both|>\t d<|left|><|right|>"),
        ("greedy-spaces", "  <|left|>  <|right|>  "),
    ],
)
def test_prompts_without_lookalikes_get_the_ids_of_the_library(kind: str, prompt: str) -> None:
    """The marks' detour must not be seen where nobody spells a control token."""
    source = KINDS[kind]()
    tokenizer = Tokenizer(source)
    expected = library(source).encode(prompt, add_special_tokens=False).ids
    assert tokenizer.encode_prompt(prompt, tokenizer.marks()) == expected


@given(turns=st.lists(TEXTS, min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_prompts_hold_exactly_the_control_tokens_that_the_template_writes(
    turns: list[str],
) -> None:
    source = vocabularies.byte_level()
    reference = library(source)
    start, end = (reference.token_to_id(text) for text in CONTROL[:2])
    tokenizer = Tokenizer(source)
    marks = tokenizer.marks()
    rendered = "".join(f"{CONTROL[0]}user\n{marks.cover(turn)}{CONTROL[1]}\n" for turn in turns)
    ids = tokenizer.encode_prompt(rendered, marks)

    assert [i for i in ids if i in control_ids(source)] == [start, end] * len(turns)
    plain = []
    for token_id in ids:
        if token_id == start:
            plain.append([])
        elif token_id != end:
            plain[-1].append(token_id)
    said = [reference.decode(part, skip_special_tokens=False) for part in plain]
    assert said == [f"user\n{turn}\n" for turn in turns]


def test_a_long_run_of_spaces_before_a_greedy_control_token_is_read_in_one_pass() -> None:
    """A pattern that looks for spaces and then for a token would need hours for this text."""
    tokenizer = Tokenizer(vocabularies.greedy_spaces())
    prompt = " " * 200_000 + "x<|left|>"
    ids = tokenizer.encode_prompt(prompt, tokenizer.marks())
    assert tokenizer.control_text(ids[-1]) == "<|left|>"


@pytest.mark.parametrize(
    "source",
    ["", "{", "[]", "{}", "null", '{"model": {}}', "[" * 100_000, '{"added_tokens": [{}]}'],
    ids=lambda source: source[:20] or "empty",
)
def test_what_is_no_tokenizer_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        Tokenizer(source)


def test_truncation_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    """Nothing is cut silently, whatever the file says."""
    short = library(vocabularies.wordpiece())
    short.enable_truncation(4)
    short.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    short.save(str(path))
    [ids] = Tokenizer.from_file(path).encode_for_embedding(["la maloca " * 10])
    assert len(ids) == 22


def test_a_tokenizer_without_control_tokens_works() -> None:
    source = json.loads(vocabularies.byte_level())
    source["added_tokens"] = []
    tokenizer = Tokenizer(json.dumps(source))
    marks = tokenizer.marks()
    ids = tokenizer.encode_prompt(marks.cover("hola \ufdd0 <|im_end|>"), marks)
    assert tokenizer.decode(ids) == "hola \ufdd0 <|im_end|>"


def test_a_control_token_is_spelt_as_in_the_file() -> None:
    tokenizer = Tokenizer(vocabularies.byte_level())
    assert tokenizer.control_text(1) == CONTROL[1]
    assert (tokenizer.control_text(None), tokenizer.control_text(10**6)) == ("", "")
    assert tokenizer.vocab_size == 600
