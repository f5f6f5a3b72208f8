from __future__ import annotations

from collections.abc import Sequence

import pytest

from maloca.core.completer import CompletionRequest, collect
from maloca.core.messages import Message
from maloca.server.providers.base import Declined
from maloca.server.providers.extractive import ExtractiveProvider
from maloca.server.providers.passages import NoPassages, Passage

PASSAGES = [
    Passage("La maloca tiene cuatro postes. El fuego está en el centro.", "La casa"),
    Passage("The river rises in May.\nCanoes are made of cedar wood.", "River"),
]


class Given:
    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages

    async def passages(self, request: CompletionRequest) -> Sequence[Passage]:
        del request
        return self._passages


async def answer(question: str, passages: Sequence[Passage]) -> str:
    provider = ExtractiveProvider(Given(passages))
    wanted = CompletionRequest(
        model="default", messages=[Message("user", "hola"), Message("user", question)]
    )
    return (await collect(provider.complete(wanted))).text


async def test_the_fitting_sentences_are_quoted_with_their_source_and_a_label() -> None:
    text = await answer("¿Dónde esta el FUEGO?", PASSAGES)
    label, quotation = text.split("\n\n")
    assert label.startswith("Ningún modelo puede responder")
    assert quotation == "- El fuego está en el centro. (La casa)"


async def test_the_label_speaks_the_questions_language() -> None:
    text = await answer("What are the canoes made of?", PASSAGES)
    assert text.startswith("No model can answer now.")
    assert "- Canoes are made of cedar wood. (River)" in text
    assert "maloca" not in text


async def test_without_a_common_word_the_best_passage_begins() -> None:
    assert (await answer("¿Quién?", PASSAGES)).endswith(
        "- La maloca tiene cuatro postes. (La casa)"
    )


async def test_a_few_sentences_at_most_and_none_twice() -> None:
    passages = [Passage(" ".join(f"El fuego {n}." for n in range(9)), "A")] * 2
    assert (await answer("fuego", passages)).count("\n- ") == 3


@pytest.mark.parametrize("source", [NoPassages(), Given([]), Given([Passage(" \n ", "empty")])])
async def test_without_passages_it_declines(source: NoPassages | Given) -> None:
    wanted = CompletionRequest(model="default", messages=[Message("user", "hola")])
    with pytest.raises(Declined) as caught:
        await collect(ExtractiveProvider(source).complete(wanted))
    assert caught.value.info.code == "no_passages"
