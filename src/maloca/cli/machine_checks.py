"""Checks of the machine and of what is installed on it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from maloca.cli import console
from maloca.cli.check import Check, bad, ok
from maloca.core.home import home, models_dir
from maloca.server.page import page_folder

_MIB: Final = 1024**2
_DISK_LEAST: Final = 256 * _MIB
_DISK_WISE: Final = 1024 * _MIB
_MEMORY_LEAST: Final = 400 * _MIB
_MEMORY_WISE: Final = 1024 * _MIB
_NODE_MAJOR: Final = 20
_LOAD_SECONDS: Final = 120
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_AVX2_FEATURE: Final = 40
_AVX512_FEATURE: Final = 41
# The package's name on the index, and the module that proves that it loads.
_ENGINE_PACKAGES: Final = {"openvino-genai": "openvino_genai", "tokenizers": "tokenizers"}


def machine_checks() -> Iterator[Check]:
    """Yield every check, each when it is done."""
    yield python()
    yield cpu(cpu_flags())
    yield memory(psutil.virtual_memory().available, psutil.virtual_memory().total)
    yield state_folder(home())
    yield disk(models_dir())
    yield engine_packages()
    yield node()
    yield page()


def python() -> Check:
    """See that Python can load the inference libraries."""
    bits = struct.calcsize("P") * 8
    values: dict[str, Any] = {"version": platform.python_version(), "bits": bits}
    if bits < 64:  # noqa: PLR2004 - a fact of the machine
        return bad("fail", "python", "python", "python.bits", **values)
    return ok("python", "python", **values)


def cpu(flags: frozenset[str] | None) -> Check:
    """Say which speed to expect; None means that the flags cannot be seen."""
    cores = os.cpu_count() or 1
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return ok("cpu", "cpu.neon", cores=cores)
    if flags is None:
        return ok("cpu", "cpu.unknown", cores=cores)
    if "avx512f" in flags:
        return ok("cpu", "cpu.avx512", cores=cores)
    if "avx2" in flags:
        return ok("cpu", "cpu.avx2", cores=cores)
    return bad("warn", "cpu", "cpu.slow", "cpu.slow.fix", cores=cores)


def cpu_flags() -> frozenset[str] | None:
    """Return what the CPU can do, as Linux names it; None where it cannot be seen."""
    if sys.platform == "win32":
        has = ctypes.windll.kernel32.IsProcessorFeaturePresent
        known = {"avx2": _AVX2_FEATURE, "avx512f": _AVX512_FEATURE}
        return frozenset(flag for flag, number in known.items() if has(number))
    if sys.platform == "darwin":
        said = _output("/usr/sbin/sysctl", "-n", "machdep.cpu.leaf7_features")
        return None if said is None else frozenset(said.lower().split())
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "flags":
                return frozenset(value.split())
    return None


def memory(available: int, total: int) -> Check:
    """See that the small models fit. Both are in bytes."""
    values = {"available": console.size(available), "total": console.size(total)}
    if available < _MEMORY_LEAST:
        return bad("fail", "memory", "memory", "memory.fix", **values)
    if available < _MEMORY_WISE:
        return bad("warn", "memory", "memory", "memory.fix", **values)
    return ok("memory", "memory", **values)


def state_folder(path: Path) -> Check:
    """See that the state can be written by this user, and by nobody else."""
    existing = _existing(path)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        return bad(
            "fail", "home", "home.unwritable", "home.unwritable.fix", path=path, reason=reason
        )
    mode = path.stat().st_mode if path.exists() else 0
    if os.name == "posix" and mode & _OTHERS_WRITE:
        found = bad(
            "warn", "home", "home.open", "home.unwritable.fix", path=path, mode=f"{mode & 0o777:o}"
        )
        return Check(found.name, found.status, found.message, f"chmod go-w {path}")
    free = console.size(shutil.disk_usage(existing).free)
    return ok("home", "home", path=path, free=free)


def disk(path: Path) -> Check:
    """See that a model fits on the disk of the model store."""
    free = shutil.disk_usage(_existing(path)).free
    values: dict[str, Any] = {"free": console.size(free), "path": path}
    if free < _DISK_LEAST:
        return bad("fail", "disk", "disk.low", "disk.fix", **values)
    if free < _DISK_WISE:
        return bad("warn", "disk", "disk.low", "disk.fix", **values)
    return ok("disk", "disk", **values)


def engine_packages() -> Check:
    """See that the inference libraries are installed and load."""
    versions: dict[str, str] = {}
    for package in _ENGINE_PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    if missing := ", ".join(_ENGINE_PACKAGES.keys() - versions.keys()):
        # Whoever uses an engine elsewhere needs none here.
        status: Literal["warn", "fail"] = "warn" if os.environ.get("MALOCA_ENGINE_URL") else "fail"
        return bad(status, "engine", "engine.missing", "engine.fix", packages=missing)
    for package, version in versions.items():
        if reason := _cannot_load(_ENGINE_PACKAGES[package]):
            return bad(
                "fail",
                "engine",
                "engine.broken",
                "engine.broken.fix",
                package=package,
                version=version,
                reason=reason,
            )
    said = ", ".join(f"{package} {version}" for package, version in versions.items())
    return ok("engine", "engine", versions=said)


def node() -> Check:
    """See that the page could be built."""
    program = shutil.which("node")
    said = _output(program, "--version") if program else None
    if said is None:
        return bad("warn", "node", "node.missing", "node.fix")
    version = said.strip().removeprefix("v")
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < _NODE_MAJOR:
        return bad("warn", "node", "node.old", "node.fix", version=version)
    return ok("node", "node", version=version)


def page() -> Check:
    """See that the page is there to be served."""
    if page_folder() is None:
        return bad("warn", "page", "page.missing", "page.fix")
    return ok("page", "page")


def _existing(path: Path) -> Path:
    """Return the nearest folder that exists, which is where the path would be made."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _cannot_load(module: str) -> str | None:
    """Return why a native module does not load. In a child: one built for another CPU crashes."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"import {module}"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_LOAD_SECONDS} s"
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else f"exit code {done.returncode}"
    return None


def _output(*argv: str) -> str | None:
    """Return what a small program prints, or None when it cannot be asked."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
