"""Files stay short enough to be read in one go: a word over 300 lines, a failure over 400."""

from __future__ import annotations

import sys
from pathlib import Path

from house import sources

GOOD = 300
LIMIT = 400
KINDS = {".py", ".ts", ".svelte"}


def lengths(root: Path) -> dict[str, int]:
    """Return the number of lines of each source file that is longer than it should be."""
    found = {}
    for path in sources.files(root):
        if path.suffix in KINDS:
            count = len(path.read_text(encoding="utf-8").splitlines())
            if count > GOOD:
                found[path.relative_to(root).as_posix()] = count
    return found


def main(root: Path) -> int:
    """Name the long files, the longest first."""
    found = lengths(root)
    for name, count in sorted(found.items(), key=lambda item: -item[1]):
        verdict = f"over the limit of {LIMIT}" if count > LIMIT else f"better under {GOOD}"
        print(f"    {name}: {count} lines, {verdict}")
    return 1 if any(count > LIMIT for count in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()))
