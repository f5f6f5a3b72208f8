from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.repository.checkout import BACKEND, NODE, NPM, PROGRAM, PYPROJECT, ROOT, Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a checkout in a folder whose name has spaces and an accent."""
    root = tmp_path / "mi casa común"
    tools = tmp_path / "tools"
    tools.mkdir()
    made = Checkout(root, tools)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=ignored)
    made.write("pyproject.toml", PYPROJECT)
    made.write("constraints.txt", "")
    made.write("backend.py", BACKEND)
    made.write("src/program.py", PROGRAM)
    made.write("web/src/App.svelte", "<h1>hello</h1>")
    made.write("web/package-lock.json", "{}")
    made.write("web/package.json", '{"engines": {"node": "^20.19.0 || >=22.12.0"}}')
    for name in ("sh", "mkdir", "sed", "cat", "sleep", "dirname"):
        path = shutil.which(name)
        assert path is not None
        (tools / name).symlink_to(path)
    made.tool("node", NODE)
    made.tool("npm", NPM)
    return made
