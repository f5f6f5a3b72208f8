"""A small checkout that sets itself up with the repository's own scripts, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "maloca"
version = "0.1"

[project.optional-dependencies]
engine = []
dev = []
transformers = ["torch==2.13.0"]

[tool.anything]
size = 1
"""

# The least that pip needs to install a folder in place: one wheel, made by hand.
BACKEND = """
import os, time, zipfile
from pathlib import Path

HERE = Path(__file__).parent

def build_editable(folder, settings=None, metadata=None):
    with open(HERE / "calls", "a") as calls:
        calls.write("pip\\n")
    if (HERE / "pip-hangs").exists():
        (HERE / "pip-pid").write_text(str(os.getpid()))
        time.sleep(60)
    if (HERE / "pip-fails").exists():
        raise SystemExit("no such package: quinoa")
    name = "maloca-0.1-py3-none-any.whl"
    info = "maloca-0.1.dist-info"
    files = {
        "maloca.pth": str(HERE / "src"),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: maloca\\nVersion: 0.1\\n"
            "Provides-Extra: engine\\nProvides-Extra: dev\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": "[console_scripts]\\nmaloca = program:main\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""

# Both halves of what the set-up asks of a virtual environment's Python.
PYTHON = """#!/bin/sh
folder=$(cd "$(dirname "$0")/.." && pwd)
case "$1 $2" in
  -c*) echo "$folder" ;;
  "-m pip") echo pip >> "$folder/../calls"
       echo "asked for: $*"
       if [ -e "$folder/../pip-fails" ]; then echo "no such package: quinoa"; exit 3; fi ;;
  *) echo "python $*" >> "$folder/../calls"
     case "$1" in *lint.py) if [ -e "$folder/../lint-fails" ]; then exit 4; fi ;; esac
     echo "1 passed, chromium=$MALOCA_CHROMIUM" ;;
esac
"""

PROGRAM = """
import signal, sys

def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print("maloca", *sys.argv[1:], flush=True)
    if "--wait" in sys.argv:
        signal.pause()
"""

NODE = '#!/bin/sh\necho "${NODE_VERSION:-v22.12.0}"\n'

NPM = """#!/bin/sh
echo "npm $1 $2" | sed 's/ --.*//' >> ../calls
echo "npm says hello"
if [ -e ../npm-fails ]; then echo "no such file: App.svelte"; exit 3; fi
case "$1" in
  ci) mkdir -p node_modules ;;
  run) mkdir -p ../src/maloca/server/page && echo page > ../src/maloca/server/page/index.html ;;
esac
"""


@dataclass
class Checkout:
    """A folder that looks like a clone of the repository, as far as its set-up goes."""

    root: Path
    tools: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> list[str]:
        """Return what pip and npm were asked for, in order."""
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def write(self, path: str, text: str) -> None:
        """Write a file of the checkout."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def pretend_environment(self) -> None:
        """Put a virtual environment there whose pip only notes that it was called.

        Making a real one takes seconds, and is what only some tests are about.
        """
        folder = self.root / ".venv"
        self.write(".venv/pyvenv.cfg", f"version = 3.11.0\ncommand = python -m venv {folder}\n")
        self.write(".venv/bin/python", PYTHON)
        self.write(".venv/bin/maloca", f"#!{sys.executable}\n{PROGRAM}\nmain()\n")
        for name in ("python", "maloca"):
            (folder / "bin" / name).chmod(0o755)

    def tool(self, name: str, script: str) -> None:
        """Put a program on PATH."""
        path = self.tools / name
        path.write_text(script)
        path.chmod(0o755)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that the Makefile runs."""
        return [sys.executable, str(self.root / "scripts" / "bootstrap.py"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables of a shell that has only the checkout's tools on PATH."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": str(self.tools), "PIP_NO_INDEX": "1", **self.settings}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the checkout to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
