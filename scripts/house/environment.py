"""The virtual environment: made once, installed into only when something changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from house.console import StageFailed, run_quietly, say


@dataclass(frozen=True)
class Environment:
    """A checkout and its virtual environment."""

    root: Path
    folder: Path

    @classmethod
    def of(cls, root: Path) -> Environment:
        """Return the environment that VENV names, else `.venv` in the checkout."""
        return cls(root, (root / os.environ.get("VENV", ".venv")).absolute())

    def program(self, name: str) -> Path:
        """Return the path of a program that is installed there."""
        if os.name == "nt":
            return self.folder / "Scripts" / f"{name}.exe"
        return self.folder / "bin" / name

    @property
    def python(self) -> Path:
        """Return the environment's interpreter."""
        return self.program("python")

    @property
    def log(self) -> Path:
        """Return where pip's output goes."""
        return self.root / "build" / "logs" / "packages.log"

    @property
    def stamp(self) -> Path:
        """Return the file that says what is installed; it is absent while pip runs."""
        return self.folder / "maloca-installed.json"

    @cached_property
    def project(self) -> dict[str, Any]:
        """Return pyproject.toml."""
        return tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))

    @property
    def torch(self) -> str:
        """Return the one torch that tests use, as pyproject.toml pins it."""
        wanted = self.project["project"]["optional-dependencies"]["transformers"]
        return next(str(one) for one in wanted if one.startswith("torch=="))

    def ensure(self, extras: Iterable[str]) -> None:
        """Install the package in place with these extras, unless that is done already.

        Raises:
            StageFailed: The folder is something else, or pip failed.
        """
        self._ensure_folder()
        missing = sorted(set(extras) - self.installed())
        if not missing:
            return
        extras = sorted({*extras, *self.installed()})
        self.stamp.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)
        self._sweep()
        if "transformers" in extras:
            # Alone and first, so that a build that is already on this machine is taken.
            self._pip("torch", self.torch)
        self._pip("packages", "--editable", f".[{','.join(extras)}]")
        self._write_stamp(extras)

    def installed(self) -> set[str]:
        """Return the extras that are installed; empty when pyproject or the pins changed."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return set()
        return set(stamp["extras"]) if stamp["fingerprint"] == self.fingerprint() else set()

    def fingerprint(self) -> str:
        """Return a hash of everything that decides what an install brings, and where it lies.

        Settings of tools in pyproject.toml do not count. The place does: programs of a virtual
        environment name it.
        """
        config = {key: self.project.get(key) for key in ("project", "build-system")}
        parts = (
            json.dumps(config, sort_keys=True),
            (self.root / "constraints.txt").read_text(encoding="utf-8"),
            (self.folder / "pyvenv.cfg").read_text(encoding="utf-8"),
            str(self.root),
            str(self.folder),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _ensure_folder(self) -> None:
        """Make the virtual environment, anew where its interpreter or its place is gone."""
        if self.works:
            return
        if self.folder.exists():
            holds_files = any(path.is_file() for path in self.folder.rglob("*"))
            if holds_files and not (self.folder / "pyvenv.cfg").exists():
                raise StageFailed(
                    f"{self.folder} exists and is no virtual environment."
                    " Move it away, or name another folder: VENV=… make up"
                )
            say(f"  {self.folder.name}: made anew: it does not start, or was made elsewhere")
            shutil.rmtree(self.folder)
        self.log.unlink(missing_ok=True)
        run_quietly(
            "virtual environment",
            [sys.executable, "-m", "venv", self.folder],
            self.log,
            cwd=self.root,
        )

    @property
    def works(self) -> bool:
        """Tell whether the environment starts, with pip, where it was made."""
        try:
            answer = subprocess.run(
                [self.python, "-c", "import pip, sys; print(sys.prefix)"],
                capture_output=True,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return False
        config = (self.folder / "pyvenv.cfg").read_text(encoding="utf-8")
        # A moved environment starts, but its programs name the old place.
        moved = "command = " in config and str(self.folder) not in config
        return Path(answer.stdout.strip()).resolve() == self.folder.resolve() and not moved

    def _sweep(self) -> None:
        """Remove what an interrupted pip left: metadata without the list of files it ends with."""
        for metadata in self.folder.rglob("site-packages/*.dist-info"):
            if not (metadata / "RECORD").exists():
                shutil.rmtree(metadata)

    def _pip(self, stage: str, *wanted: str) -> None:
        """Install with pip, within the pins."""
        options = ("--progress-bar=off", "--disable-pip-version-check", "-c", "constraints.txt")
        run_quietly(
            stage,
            [self.python, "-m", "pip", "install", *options, *wanted],
            self.log,
            cwd=self.root,
            env={**os.environ, "PIP_USER": "0"},
        )

    def _write_stamp(self, extras: list[str]) -> None:
        """Say what is installed, all at once or not at all."""
        draft = self.stamp.with_suffix(".tmp")
        draft.write_text(
            json.dumps({"fingerprint": self.fingerprint(), "extras": extras}), encoding="utf-8"
        )
        draft.replace(self.stamp)
