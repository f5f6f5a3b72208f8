"""What the README and its translation tell people to do can be done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from tests.repository.checkout import ROOT

from maloca.cli.main import app

READMES = ("README.md", "README.es.md")
MARKDOWN = (*READMES, "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[str]:
    """Return the fenced code blocks of a file."""
    return re.findall(r"^```[^\n]*\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)


def commands(name: str) -> Iterator[list[str]]:
    """Yield the words of each line of code, in blocks and in the text."""
    inline = re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text_of(name), flags=re.MULTILINE | re.DOTALL)
    )
    for line in [*"\n".join(blocks(name)).splitlines(), *inline]:
        for part in re.split(r"\||&&|;", line.split(" #")[0]):
            yield part.split()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md"])
def test_every_make_command_is_a_target(name: str) -> None:
    asked = {words[1] for words in commands(name) if words[:1] == ["make"] and len(words) > 1}
    assert asked
    assert asked <= targets()


@pytest.mark.parametrize("name", READMES)
def test_every_maloca_command_exists(name: str) -> None:
    root = typer.main.get_command(app)
    asked = [words[1:] for words in commands(name) if words[:1] == ["maloca"]]
    assert asked
    for words in asked:
        command: click.Command = root
        context = click.Context(root)
        for word in words:
            if not isinstance(command, click.Group):
                break
            if word.startswith("-"):
                continue
            found = command.get_command(context, word)
            assert found is not None, f"maloca {' '.join(words)}"
            command, context = found, click.Context(found, parent=context)


def test_the_first_command_is_make_up_and_the_second_make_test() -> None:
    asked = [words[1] for words in commands("README.md") if words[:1] == ["make"]]
    assert asked[0] == "up"
    assert "test" in asked
    assert text_of(".ci/run").splitlines()[-1] == "exec make test"


def test_the_translation_has_the_same_sections_and_the_same_code() -> None:
    heads = [re.findall(r"^(#+) ", text_of(name), re.MULTILINE) for name in READMES]
    assert heads[0] == heads[1]
    assert blocks("README.md") == blocks("README.es.md")


@pytest.mark.parametrize("name", MARKDOWN)
def test_links_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        linked = folder / path if path else ROOT / name
        assert linked.exists(), f"{name} links to {target}"
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), f"{name} links to {target}"


def anchors(path: Path) -> set[str]:
    """Return the anchors that a file's headings get where it is read."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_the_changelog_has_a_place_for_what_is_next() -> None:
    assert re.search(r"^## \[?Unreleased", text_of("CHANGELOG.md"), re.MULTILINE)


def test_contributing_names_the_two_checks() -> None:
    assert {"make lint", "make test"} <= {
        " ".join(words[:2]) for words in commands("CONTRIBUTING.md")
    }


def test_make_help_lists_every_target() -> None:
    declared = text_of("Makefile").partition(".PHONY:")[2].splitlines()[0].split()
    assert set(declared) == targets()
