"""Every check of `make lint`, two at a time: one line each, and the output of those that fail.

With --fix, the formatters rewrite what they can instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from house import sources

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"


@dataclass(frozen=True)
class Check:
    """A command that ends with 0 when all is well."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT


@dataclass(frozen=True)
class Outcome:
    """How a check went."""

    check: Check
    status: int
    output: str
    seconds: float


def checks() -> list[Check]:
    """Return the checks, the longest first, so that two workers end about together."""
    return [
        Check("types", _python("mypy")),
        Check("page: types", _npm("check"), WEB),
        Check("page: style", _npm("lint"), WEB),
        Check("layers", (_script("lint-imports"), "--no-logo")),
        Check("style", _python("ruff", "check", "--quiet")),
        Check("format", _python("ruff", "format", "--check", "--quiet")),
        Check("spelling", (_script("codespell"), *_tracked())),
        Check("file length", (sys.executable, "scripts/check_file_length.py")),
        Check("house rules", (sys.executable, "scripts/check_repository.py")),
    ]


def fixes() -> list[Check]:
    """Return the formatters."""
    scripts = json.loads((WEB / "package.json").read_text(encoding="utf-8"))["scripts"]
    return [
        Check("style", _python("ruff", "check", "--fix-only", "--quiet")),
        Check("format", _python("ruff", "format", "--quiet")),
        *([Check("page: format", _npm("format"), WEB)] if "format" in scripts else []),
    ]


def run(check: Check) -> Outcome:
    """Run a check and keep what it says."""
    started = time.monotonic()
    plain = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    plain["NO_COLOR"] = "1"
    answer = subprocess.run(
        check.command,
        cwd=check.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env=plain,
    )
    return Outcome(check, answer.returncode, answer.stdout, time.monotonic() - started)


def main() -> int:
    """Run all checks, or the formatters with --fix; fail when one fails."""
    failed = []
    fix = "--fix" in sys.argv[1:]
    # One after the other where they write to the same files.
    with ThreadPoolExecutor(1 if fix else 2) as pool:
        for outcome in pool.map(run, fixes() if fix else checks()):
            verdict = "ok" if outcome.status == 0 else "FAILED"
            print(f"  {outcome.check.name}: {verdict} ({outcome.seconds:.1f} s)", flush=True)
            if outcome.status != 0:
                failed.append(outcome.check.name)
            if outcome.status != 0 or outcome.check.name == "file length":
                print(outcome.output.rstrip(), flush=True)
    if failed:
        print(f"\nlint: {', '.join(failed)} failed", flush=True)
    return 1 if failed else 0


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module of this environment."""
    return (sys.executable, "-m", module, *arguments)


def _script(name: str) -> str:
    """Return the path of a program that stands beside this Python."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or name


def _npm(script: str) -> tuple[str, ...]:
    """Return the command that runs one of the page's scripts."""
    return (shutil.which("npm") or "npm", "run", "--silent", script)


def _tracked() -> list[str]:
    """Return the repository's files; pyproject.toml says which are not spelt in English."""
    return [path.relative_to(ROOT).as_posix() for path in sources.files(ROOT)]


if __name__ == "__main__":
    sys.exit(main())
