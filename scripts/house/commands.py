"""What each of the Makefile's commands does, stage by stage."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from house import browser, machine
from house.console import StageFailed, become, run_openly, say
from house.environment import Environment
from house.page import Page

RUN = ("engine",)
CHECK = ("engine", "dev")
EVERYTHING = ("engine", "dev", "transformers")

# What the daily loop leaves out: see the markers in pyproject.toml.
FAST = "not (slow or torch or real or browser or package or process or postgres)"


def run(root: Path, arguments: Sequence[str]) -> int:
    """Run one command of the Makefile; return its exit status."""
    name, *rest = arguments or ["up"]
    commands: dict[str, Callable[[House, list[str]], int]] = {
        "up": up,
        "test": test,
        "test-fast": test_fast,
        "test-slow": test_slow,
        "lint": lint,
        "format": format_sources,
        "bench": bench,
        "openapi": openapi,
        "dist": dist,
        "clean": clean,
    }
    if name not in commands:
        say(f"{name!r} is not a command of this script. There are: {', '.join(commands)}.")
        return 2
    try:
        return commands[name](House(root), rest)
    except StageFailed as failure:
        say(f"\n{failure}\n\n{name}: stopped.")
        return 1
    except KeyboardInterrupt:
        say(f"\n{name}: interrupted. Run it again to go on where it stopped.")
        return 130


class House:
    """A checkout with its environment and its page."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = Environment.of(root)
        self.page = Page(root)

    def prepare(self, extras: Sequence[str], *, page: bool = True, tools: bool = False) -> None:
        """Install these extras, build the page, and install the page's tools.

        Raises:
            StageFailed: Something is missing on this machine, or an install or build failed.
        """
        # Looked for first: nobody should wait for packages only to hear that Node.js is missing.
        missing = self.page.missing(packages=tools) if page or tools else []
        if missing:
            raise StageFailed(machine.explain(missing).rstrip())
        self.environment.ensure(extras)
        if tools:
            self.page.ensure_packages(tools=True)
        if page:
            self.page.ensure()

    def python(self, *arguments: str, **settings: str) -> int:
        """Run the environment's Python with its output for the reader."""
        return run_openly(
            [self.environment.python, *arguments], cwd=self.root, env={**os.environ, **settings}
        )


def up(house: House, arguments: list[str]) -> int:
    """Start Maloca."""
    house.prepare(RUN)
    become([house.environment.program("maloca"), "up", *arguments])


def test(house: House, arguments: list[str]) -> int:
    """Lint, then run every test but the slow ones."""
    settings = _prepare_tests(house, tools=True)
    if house.python("scripts/lint.py") != 0:
        raise StageFailed("lint: failed, so the tests did not run.")
    house.page.npm("page's unit tests", "test")
    return _pytest(house, "not slow", arguments, settings)


def test_fast(house: House, arguments: list[str]) -> int:
    """Run the tests that need neither torch, real models, a browser nor an install."""
    house.prepare(CHECK, page=False)
    return _pytest(house, FAST, arguments, {})


def test_slow(house: House, arguments: list[str]) -> int:
    """Run the soaks and the long fault runs."""
    return _pytest(house, "slow", arguments, _prepare_tests(house))


def lint(house: House, arguments: list[str]) -> int:
    """Check style, types, layers, lengths and spelling."""
    house.prepare(CHECK, page=False, tools=True)
    return house.python("scripts/lint.py", *arguments)


def format_sources(house: House, arguments: list[str]) -> int:
    """Rewrite the sources in the one style."""
    house.prepare(CHECK, page=False, tools=True)
    return house.python("scripts/lint.py", "--fix", *arguments)


def bench(house: House, arguments: list[str]) -> int:
    """Run a benchmark: the one that is named first, else that of the first token."""
    house.prepare(CHECK)
    name = "first_token"
    if arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
    return house.python("-m", f"bench.{name}", *arguments)


def openapi(house: House, arguments: list[str]) -> int:
    """Write the services' OpenAPI files."""
    house.prepare(RUN, page=False)
    return house.python("scripts/openapi.py", *arguments)


def dist(house: House, arguments: list[str]) -> int:
    """Build the source archive and the wheel, the page inside."""
    house.prepare(CHECK)
    return house.python("-m", "build", "--outdir", "dist", *arguments)


def clean(house: House, _arguments: list[str]) -> int:
    """Remove what was built; installed packages stay."""
    built = ("build", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache")
    for folder in (*(house.root / name for name in built), house.page.output):
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _prepare_tests(house: House, *, tools: bool = False) -> dict[str, str]:
    """Install what every test needs; return the settings that tell tests where it is."""
    house.prepare(EVERYTHING, tools=tools)
    found = browser.ensure(house.environment)
    return {browser.VARIABLE: found} if found else {}


def _pytest(house: House, marks: str, arguments: list[str], settings: dict[str, str]) -> int:
    """Run pytest last, so that its summary ends the output."""
    sys.stdout.flush()
    return house.python("-m", "pytest", "-m", marks, *arguments, **settings)
