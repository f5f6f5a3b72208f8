"""Keep the help texts inside docs/cli.md what the commands print.

`python scripts/docs_cli.py` compares; with `--write` it writes them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from typer.core import TyperGroup

from maloca.cli.lazy import COMMANDS, load

DOCUMENT = Path(__file__).parent.parent / "docs" / "cli.md"
_BLOCK = re.compile(r"(<!-- help: (?P<command>maloca[a-z -]*) -->\n```text\n).*?(```\n)", re.DOTALL)


def commands() -> list[str]:
    """Return every command line that has a help text."""
    found = ["maloca"]
    for name in COMMANDS:
        found.append(f"maloca {name}")
        command = load(name)
        if isinstance(command, TyperGroup):
            found += [f"maloca {name} {sub}" for sub in command.commands]
    return found


def help_of(command: str) -> str:
    """Return what `--help` prints, 80 columns wide and without colour."""
    plain = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-m", "maloca.cli.main", *command.split()[1:], "--help"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
        env={**os.environ, **plain, "PYTHONIOENCODING": "utf-8"},
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def render(document: str) -> str:
    """Return the document with every help block brought up to date.

    Raises:
        SystemExit: A command has no block, or a block no command.
    """
    documented = [match["command"] for match in _BLOCK.finditer(document)]
    if differing := set(commands()) ^ set(documented):
        raise SystemExit(f"{DOCUMENT.name}: blocks and commands differ: {sorted(differing)}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        texts = dict(zip(documented, pool.map(help_of, documented), strict=True))
    return _BLOCK.sub(lambda match: match[1] + texts[match["command"]] + match[3], document)


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
