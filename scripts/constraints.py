"""Write constraints.txt: the version of everything that running, testing and checking installs.

`python scripts/constraints.py` asks pip, in an empty environment, what it would install today for
pyproject.toml's lower bounds, and pins that. Nothing of the running environment plays a part, so
anyone gets the same file on the same day. Packages that only other platforms need stay unpinned.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from house.environment import Environment

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "engine,transformers,dev"
HEADER = """\
# What an install brings, to the version. Written by scripts/constraints.py: do not edit.
# One torch build serves all tests; its local version (+cpu, +cu130) is left to the machine.
"""


def resolve() -> dict[str, str]:
    """Return the name and version of every package that pip would install."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Environment(ROOT, Path(folder, "venv"))
        report = Path(folder, "report.json")
        subprocess.run([sys.executable, "-m", "venv", str(empty.folder)], check=True)
        options = ("--dry-run", "--quiet", "--report", str(report))
        wanted = (empty.torch, f".[{EXTRAS}]")
        subprocess.run(
            [str(empty.python), "-m", "pip", "install", *options, *wanted], cwd=ROOT, check=True
        )
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    versions = {one["metadata"]["name"]: one["metadata"]["version"] for one in installs}
    del versions["maloca"]
    return versions


def render(versions: dict[str, str]) -> str:
    """Return the file's text."""
    names = sorted(versions, key=str.lower)
    return HEADER + "".join(f"{name}=={versions[name].partition('+')[0]}\n" for name in names)


def main() -> None:
    """Write the file."""
    text = render(resolve())
    (ROOT / "constraints.txt").write_text(text, encoding="utf-8")
    print(f"constraints.txt: {len(text.splitlines()) - len(HEADER.splitlines())} packages")


if __name__ == "__main__":
    main()
