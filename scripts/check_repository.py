"""House rules that no other tool checks: each finding names the file, the line and the way out."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from house import sources


@dataclass(frozen=True)
class Finding:
    """A line that breaks a rule."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """Return it in the form that editors make a link of."""
        return f"{self.path}:{self.line}: {self.message}"


# A folder of one machine; the pieces in brackets keep these patterns from finding themselves.
_MACHINE_PATH = re.compile(
    r"(?<![\w.~/:{}])/(?:[w]ork|[r]oot|[h]ome/[a-z]\w*|[U]sers/\w+|opt/[w]heels|opt/[p]ypi)/"
    r"|[C]:\\{1,2}Users\\"
)
_REGISTRY = re.compile(
    r"[p]ypi\.org|[p]ythonhosted\.org|registry\.[n]pmjs\.org|registry\.[y]arnpkg\.com"
    r"|deb\.[d]ebian\.org|[p]roxy\.golang\.org"
)

# A silenced check, its codes, and what stands beside it.
_SILENCED = re.compile(
    r"#\s*(?P<kind>noqa|type:\s*ignore|pragma: no cover|pyright:\s*ignore)"
    r"(?:\s*:\s*(?P<noqa>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)|\[(?P<types>[^\]]*)\])?"
    r"(?P<rest>.*)$"
)
_REASON = re.compile(r"[A-Za-z]{2,}\W+[A-Za-z]{1,}")
_PAGE_SILENCED = re.compile(
    r"(?://|/\*|<!--)\s*(?P<what>eslint-disable\S*|@ts-\S+|svelte-ignore)(?P<rest>.*)$"
)

_SKIPS = {"pytest.skip", "pytest.xfail"}
_SKIP_MARKS = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}


def findings(path: str, text: str) -> Iterator[Finding]:
    """Yield what breaks a rule in one file.

    Args:
        path: Relative to the repository, with forward slashes.
        text: The file's contents.
    """
    lines = text.splitlines()
    yield from _places(path, lines)
    if path.endswith(".py"):
        yield from _silenced(path, lines)
        yield from _skipped(path, text)
    if path.endswith((".ts", ".svelte", ".js")):
        yield from _silenced_in_page(path, lines)


def _places(path: str, lines: list[str]) -> Iterator[Finding]:
    """Find paths of one machine, and hosts of package registries."""
    for number, line in enumerate(lines, 1):
        if match := _MACHINE_PATH.search(line):
            yield Finding(path, number, f"{match[0]} is a path of one machine; use a relative one")
        if match := _REGISTRY.search(line):
            yield Finding(
                path, number, f"{match[0]} is a registry's host; leave it to the package manager"
            )


def _silenced(path: str, lines: list[str]) -> Iterator[Finding]:
    """Find silenced checks without a reason: on the line, the line above, or once per file."""
    explained: set[str] = set()
    for number, line in enumerate(lines, 1):
        match = _SILENCED.search(line)
        if match is None or _in_string(line, match.start()):
            continue
        codes = match["noqa"] or match["types"] or match["kind"]
        above = lines[number - 2].strip() if number > 1 else ""
        if _REASON.search(match["rest"]) or above.startswith("#"):
            explained.add(codes)
        elif codes not in explained:
            yield Finding(path, number, f"say why beside it: # {match['kind']}: {codes} - because…")


def _silenced_in_page(path: str, lines: list[str]) -> Iterator[Finding]:
    """Find silenced checks of the page's tools without a reason, on the line or the one above."""
    for number, line in enumerate(lines, 1):
        match = _PAGE_SILENCED.search(line)
        if match is None:
            continue
        _, _, reason = match["rest"].partition("--")
        above = lines[number - 2].strip() if number > 1 else ""
        if not _REASON.search(reason) and not above.startswith(("//", "<!--", "*", "/*")):
            yield Finding(path, number, f"say why: {match['what']} … -- because…")


def _skipped(path: str, text: str) -> Iterator[Finding]:
    """Find tests that are skipped, or expected to fail, without a reason."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield Finding(path, error.lineno or 1, f"does not parse: {error.msg}")
        return
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name, reasons = ast.unparse(node.func), [word.arg for word in node.keywords]
            # pytest.skip("why") says it; the condition of a mark says nothing.
            explained = "reason" in reasons or (node.args and name in _SKIPS)
            if name in _SKIPS | _SKIP_MARKS and not explained:
                yield Finding(path, node.lineno, f"{name} needs a reason")
        elif isinstance(node, ast.Attribute) and id(node) not in called:
            name = ast.unparse(node)
            if name in _SKIP_MARKS:
                yield Finding(path, node.lineno, f"{name} needs a reason")


def _in_string(line: str, at: int) -> bool:
    """Tell whether that place of a line is inside a string, as far as one line can tell."""
    before = line[:at]
    return before.count('"') % 2 == 1 or before.count("'") % 2 == 1


def main(root: Path) -> int:
    """Print every finding; fail when there is one."""
    found = [
        finding
        for path in sources.files(root)
        if (text := sources.read(path)) is not None
        for finding in findings(path.relative_to(root).as_posix(), text)
    ]
    for finding in found:
        print(f"    {finding}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
