"""The help texts in docs/cli.md are what the commands print."""

from __future__ import annotations

import pytest

import docs_cli


def test_the_help_in_the_docs_is_what_the_commands_print() -> None:
    document = docs_cli.DOCUMENT.read_text(encoding="utf-8")
    assert docs_cli.render(document) == document, "python scripts/docs_cli.py --write"


def test_a_command_without_a_block_is_missed() -> None:
    document = docs_cli.DOCUMENT.read_text(encoding="utf-8")
    with pytest.raises(SystemExit, match="maloca doctor"):
        docs_cli.render(document.replace("<!-- help: maloca doctor -->", ""))
