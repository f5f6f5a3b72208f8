from __future__ import annotations

import string

import pytest

from maloca.cli.i18n import TEXTS, language, t


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_the_same_things(key: str) -> None:
    texts = TEXTS[key]
    assert texts.keys() == {"en", "es"}
    assert all(texts.values())
    assert placeholders(texts["en"]) == placeholders(texts["es"])


@pytest.mark.parametrize(
    ("variables", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "es_CO.UTF-8"}, "es"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "es_CO.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "es_PE"}, "es"),
        ({"LANG": "en_US.UTF-8", "MALOCA_LANG": "es"}, "es"),
        ({"LANG": "es_CO.UTF-8", "MALOCA_LANG": "EN"}, "en"),
        ({"LANG": "es_CO.UTF-8", "MALOCA_LANG": ""}, "es"),
    ],
)
def test_the_language_is_the_users(
    variables: dict[str, str], spoken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANG")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == spoken
    assert (
        t("up.ready", url="x")
        == {
            "en": "Maloca is ready: x",
            "es": "Maloca está lista: x",
        }[spoken]
    )
