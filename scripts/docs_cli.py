"""Keep the help texts inside docs/cli.md what the commands print.

`python scripts/docs_cli.py` compares; with `--write` it writes them.
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

from typer.core import TyperGroup
from typer.testing import CliRunner

from maloca.cli.lazy import COMMANDS, load
from maloca.cli.main import app

DOCUMENT = Path(__file__).parent.parent / "docs" / "cli.md"
_BLOCK = re.compile(r"(<!-- help: (?P<command>maloca[a-z -]*) -->\n```text\n).*?(```\n)", re.DOTALL)


def commands() -> list[str]:
    """Return every command line that has a help text."""
    found = ["maloca"]
    for name in COMMANDS:
        found += _within(f"maloca {name}", load(name))
    return found


def _within(line: str, command: Any) -> list[str]:
    """Return a command line, and those of its subcommands."""
    subcommands = command.commands if isinstance(command, TyperGroup) else {}
    below = (_within(f"{line} {name}", each) for name, each in subcommands.items())
    return [line, *itertools.chain(*below)]


def help_of(command: str) -> str:
    """Return what `--help` prints, 80 columns wide and without colour."""
    runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"})
    done = runner.invoke(app, [*command.split()[1:], "--help"], prog_name="maloca")
    if done.exit_code:
        raise SystemExit(f"`{command} --help` ended with {done.exit_code}: {done.output}")
    return done.stdout.strip("\n") + "\n"


def render(document: str) -> str:
    """Return the document with every help block brought up to date.

    Raises:
        SystemExit: A command has no block, or a block no command.
    """
    documented = [match["command"] for match in _BLOCK.finditer(document)]
    if differing := set(commands()) ^ set(documented):
        raise SystemExit(f"{DOCUMENT.name}: blocks and commands differ: {sorted(differing)}")
    return _BLOCK.sub(lambda match: match[1] + help_of(match["command"]) + match[3], document)


def main() -> None:
    """Compare, or write."""
    before = DOCUMENT.read_text(encoding="utf-8")
    after = render(before)
    if "--write" in sys.argv[1:]:
        DOCUMENT.write_text(after, encoding="utf-8", newline="\n")
    elif before != after:
        raise SystemExit(f"{DOCUMENT} is out of date: python scripts/docs_cli.py --write")


if __name__ == "__main__":
    main()
