"""The repository's own files, as git sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def files(root: Path) -> list[Path]:
    """Return every file that is tracked, or new and not ignored, sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    names = {name for name in listing.stdout.decode().split("\0") if name}
    # A file that was deleted but not committed yet is still listed.
    return sorted(path for name in names if (path := root / name).is_file())


def read(path: Path) -> str | None:
    """Return a text file's contents, None for anything else."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
