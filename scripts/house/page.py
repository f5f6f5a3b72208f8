"""The web page: its packages and its build, each renewed only when its sources changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from house import machine
from house.console import StageFailed, run_quietly

_NOT_SOURCES = {"node_modules", "dist", "coverage", "test-results", "playwright-report"}


@dataclass(frozen=True)
class Page:
    """The page's sources in `web/`, and the build that the server serves."""

    root: Path

    @property
    def sources(self) -> Path:
        """Return the folder of the sources."""
        return self.root / "web"

    @property
    def output(self) -> Path:
        """Return the folder of the build."""
        return self.root / "src" / "maloca" / "server" / "page"

    @property
    def log(self) -> Path:
        """Return where npm's output goes."""
        return self.root / "build" / "logs" / "page.log"

    @property
    def is_built(self) -> bool:
        """Tell whether the build is there and of these sources."""
        built = (self.output / "index.html").exists()
        return built and _read(self._build_stamp) == self._sources_hash()

    def has_packages(self, *, tools: bool) -> bool:
        """Tell whether node_modules holds what the lock file says, with or without tools."""
        stamp = _read(self._packages_stamp)
        return stamp in {self._stamp(tools=True), self._stamp(tools=tools)}

    def missing(self, *, packages: bool = False) -> list[tuple[str, str]]:
        """Return what this machine lacks to build the page; empty when nothing is to be done."""
        if self.is_built and not packages:
            return []
        return machine.missing_node()

    def ensure_packages(self, *, tools: bool = False) -> None:
        """Install what builds the page; with `tools`, also what checks and tests it.

        Raises:
            StageFailed: Node.js is missing, or npm failed.
        """
        if self.has_packages(tools=tools):
            return
        self._packages_stamp.unlink(missing_ok=True)
        only = [] if tools else ["--omit=dev"]
        self.npm("page's packages", "ci", "--no-audit", "--no-fund", *only)
        _write(self._packages_stamp, self._stamp(tools=tools))

    def ensure(self) -> None:
        """Build the page.

        Raises:
            StageFailed: Node.js is missing, or npm failed.
        """
        if self.is_built:
            return
        self.log.unlink(missing_ok=True)
        self.ensure_packages()
        self._build_stamp.unlink(missing_ok=True)
        # Taken before the build: what is edited meanwhile is built the next time.
        sources = self._sources_hash()
        self.npm("page", "run", "build")
        if not (self.output / "index.html").exists():
            raise StageFailed(f"page: the build wrote no {self.output / 'index.html'}")
        _write(self._build_stamp, sources)

    def npm(self, stage: str, *arguments: str) -> None:
        """Run npm in the page's folder.

        Raises:
            StageFailed: Node.js is missing, or npm failed.
        """
        missing = machine.missing_node()
        if missing:
            raise StageFailed(machine.explain(missing))
        npm = shutil.which("npm")
        if npm is None:
            raise StageFailed("npm is gone since a moment ago.")
        # CI=1 keeps tools from asking questions that nobody would see.
        environment = {"CI": "1", "NO_COLOR": "1", **os.environ}
        run_quietly(stage, [npm, *arguments], self.log, cwd=self.sources, env=environment)

    @property
    def _packages_stamp(self) -> Path:
        return self.sources / "node_modules" / ".maloca-installed"

    @property
    def _build_stamp(self) -> Path:
        # Outside of the output, which goes into the wheel as it is.
        return self.root / "build" / "page-built"

    def _stamp(self, *, tools: bool) -> str:
        lock = _hash(self.sources, [self.sources / "package-lock.json"])
        return f"{lock} {'with tools' if tools else 'to build'}"

    def _sources_hash(self) -> str:
        return _hash(self.sources, sorted(_files(self.sources)))


def _files(folder: Path) -> Iterator[Path]:
    """Yield the source files below a folder."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_SOURCES]
        yield from (Path(parent, name) for name in names)


def _hash(folder: Path, files: list[Path]) -> str:
    """Return a hash over names and contents."""
    digests = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def _read(stamp: Path) -> str | None:
    """Return what a stamp says, None when there is none."""
    try:
        return stamp.read_text(encoding="utf-8")
    except OSError:
        return None


def _write(stamp: Path, text: str) -> None:
    """Write a stamp, all at once or not at all."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    draft = stamp.with_name(stamp.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(stamp)
