"""What tests of the database share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home of its own."""
    monkeypatch.setenv("MALOCA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _programs_on_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put PostgreSQL's programs, which its package brings, on PATH."""
    callspec = getattr(request.node, "callspec", None)
    if callspec is not None and callspec.params.get("empty_database_url") == "postgres":
        programs = request.getfixturevalue("postgres").bin_path
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
