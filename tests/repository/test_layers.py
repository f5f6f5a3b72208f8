"""Each import rule is broken once, in a copy, to see that it would be noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.repository.checkout import ROOT

LINT = Path(sys.executable).with_name("lint-imports")
DOWN = "Imports point down, and engine, server and training never import each other"
NATIVE = "Only the engine and the text layer know native inference libraries"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the sources with the repository's contracts."""
    without = shutil.ignore_patterns("__pycache__", "page")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=without)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-logo", "--no-cache", "--config", str(copy / "pyproject.toml")],
        # The folder it starts in comes first on its path: the copy, not the installed package.
        cwd=copy / "src",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("package", "imported", "contract"),
    [
        ("core", "maloca.text", DOWN),
        ("text", "maloca.asgi", DOWN),
        ("dialects", "maloca.engine", DOWN),
        ("client", "maloca.server", DOWN),
        ("engine", "maloca.server", DOWN),
        ("server", "maloca.engine", DOWN),
        ("engine", "maloca.cli", DOWN),
        ("server", "torch", NATIVE),
        ("server", "openvino_genai", NATIVE),
        ("client", "numpy", NATIVE),
    ],
)
def test_a_forbidden_import_is_found(
    copy: Path, package: str, imported: str, contract: str
) -> None:
    (copy / "src" / "maloca" / package / "astray.py").write_text(f"import {imported}\n")
    answer = lint_imports(copy)
    assert answer.returncode == 1, answer.stdout
    said = " ".join(answer.stdout.split())
    assert f"{contract} BROKEN" in said
    assert f"maloca.{package}.astray -> {imported}" in said


def test_a_package_without_a_place_is_found(copy: Path) -> None:
    (copy / "src" / "maloca" / "attic").mkdir()
    (copy / "src" / "maloca" / "attic" / "__init__.py").write_text("")
    answer = lint_imports(copy)
    assert answer.returncode == 1
    assert "attic" in answer.stdout
