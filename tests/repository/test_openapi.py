"""The committed OpenAPI files are those that the services would serve."""

from __future__ import annotations

from pathlib import Path

import openapi


def test_the_committed_files_are_up_to_date() -> None:
    assert list(openapi.differences()) == [], "run `make openapi` and commit what it writes"


def test_a_difference_is_found(tmp_path: Path) -> None:
    for name, text in openapi.documents().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(openapi.differences(tmp_path)) == []
    engine = tmp_path / "engine.json"
    engine.write_text(engine.read_text().replace("/api/llm/generate", "/api/llm/generated"))
    assert any(line.startswith("+") for line in openapi.differences(tmp_path))
