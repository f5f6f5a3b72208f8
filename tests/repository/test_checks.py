"""The repository's own checks find what they are for, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import check_file_length
import check_repository


def found(path: str, text: str) -> list[str]:
    """Return what is found, as `line: message`."""
    return [f"{one.line}: {one.message}" for one in check_repository.findings(path, text)]


# Put together here, so that this file breaks none of the rules itself.
HOME = "/ho" + "me/ana/"
HOST = "py" + "pi.org"
NOQA = "# no" + "qa"
IGNORE = "# type: " + "ignore"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"see {HOME}maloca", f"{HOME} is a path of one machine; use a relative one"),
        (f"https://{HOST}/simple", f"{HOST} is a registry's host; leave it to the package manager"),
    ],
)
def test_a_place_of_one_machine_is_found_in_any_file(line: str, message: str) -> None:
    assert found("docs/guide.md", f"# Guide\n{line}\n") == [f"2: {message}"]


@pytest.mark.parametrize(
    "line", ["GET /home/page", "~/work/maloca", "../work/main", "${HOME}/work/x", "src/home/ana/b"]
)
def test_a_path_that_is_nobodys_machine_passes(line: str) -> None:
    assert found("docs/guide.md", line) == []


@pytest.mark.parametrize("silenced", [f"{NOQA}: S101", f"{IGNORE}[arg-type]", NOQA])
def test_a_silenced_check_needs_a_reason(silenced: str) -> None:
    assert len(found("src/a.py", f"x = 1  {silenced}\n")) == 1
    assert found("src/a.py", f"x = 1  {silenced} - the stub is wrong\n") == []
    assert found("src/a.py", f"# The stub is wrong.\nx = 1  {silenced}\n") == []
    again = f"x = 1  {silenced} - the stub is wrong\n\ny = 1  {silenced}\n"
    assert found("src/a.py", again) == [], "one reason serves a file"


def test_one_reason_does_not_serve_another_code() -> None:
    text = f"x = 1  {NOQA}: S101 - the stub is wrong\ny = 1  {NOQA}: S102\n"
    assert [line[:2] for line in found("src/a.py", text)] == ["2:"]


def test_a_silenced_check_of_the_page_needs_a_reason() -> None:
    rule = "// eslint-" + "disable-next-line no-console"
    assert len(found("web/src/a.ts", f"{rule}\nlog();\n")) == 1
    assert found("web/src/a.ts", f"{rule} -- the only channel here\nlog();\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "pytest.skip()",
        "@pytest.mark.skip\ndef test_a(): ...",
        "@pytest.mark.skipif(here)\ndef test_a(): ...",
        "@pytest.mark.xfail(strict=True)\ndef test_a(): ...",
        "pytestmark = [pytest.mark.skip]",
    ],
)
def test_a_skip_needs_a_reason(line: str) -> None:
    assert len(found("tests/test_a.py", f"import pytest\n{line}\n")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "pytest.skip('no data here')",
        "@pytest.mark.skip(reason='no data here')\ndef test_a(): ...",
        "@pytest.mark.skipif(here, reason='no data here')\ndef test_a(): ...",
    ],
)
def test_a_skip_with_a_reason_passes(line: str) -> None:
    assert found("tests/test_a.py", f"import pytest\n{line}\n") == []


def test_a_long_file_is_named_and_a_longer_one_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("built.py\n")
    for name, count in (("good.py", 300), ("long.ts", 400), ("data.json", 999), ("built.py", 999)):
        (tmp_path / name).write_text("line\n" * count)
    assert check_file_length.main(tmp_path) == 0
    assert capsys.readouterr().out == "    long.ts: 400 lines, better under 300\n"

    (tmp_path / "page.svelte").write_text("line\n" * 401)
    assert check_file_length.main(tmp_path) == 1
    assert "    page.svelte: 401 lines, over the limit of 400\n" in capsys.readouterr().out
