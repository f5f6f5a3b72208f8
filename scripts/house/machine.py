"""What this machine must bring, and the command that brings what it lacks.

Readable by Python 3.7 and later: see `bootstrap.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = (3, 11)

# Stated once, where npm reads it too.
_PACKAGE = Path(__file__).resolve().parent.parent.parent / "web" / "package.json"

# The newest release is tried last: native packages follow it with some delay.
CANDIDATES = ("python3.13", "python3.12", "python3.11", "python3.14", "python3", "python")

# The Python that runs this line needs venv and ensurepip, which Debian packages apart.
_PROBE = (
    "import sys, importlib.util as u;"
    "print(*sys.version_info[:2], int(bool(u.find_spec('ensurepip') and u.find_spec('venv'))))"
)

# One row per package manager: what it is called, and its words for Python, venv and Node.
_MANAGERS = (
    ("apt-get", "sudo apt install python3 python3-venv", "sudo apt install nodejs npm"),
    ("dnf", "sudo dnf install python3.12", "sudo dnf install nodejs npm"),
    ("pacman", "sudo pacman -S python", "sudo pacman -S nodejs npm"),
    ("zypper", "sudo zypper install python312", "sudo zypper install nodejs22 npm22"),
    ("brew", "brew install python@3.12", "brew install node"),
    ("winget", "winget install Python.Python.3.12", "winget install OpenJS.NodeJS.LTS"),
)


def suits(python: str) -> bool:
    """Tell whether that interpreter is new enough and can make virtual environments."""
    version, has_venv = inspect_python(python)
    return version >= PYTHON and has_venv


def inspect_python(python: str) -> tuple[tuple[int, int], bool]:
    """Return an interpreter's version, and whether it has venv; (0, 0) when it does not start."""
    try:
        answer = subprocess.run(
            [python, "-c", _PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        major, minor, has_venv = map(int, answer.stdout.split())
    except (OSError, ValueError, subprocess.CalledProcessError):
        return (0, 0), False
    return (major, minor), bool(has_venv)


def find_python() -> str | None:
    """Return the path of an interpreter that suits, or None."""
    for name in CANDIDATES:
        path = shutil.which(name)
        if path and suits(path):
            return path
    return None


def missing_python() -> tuple[str, str]:
    """Return what is wrong with this machine's Pythons, and the command that helps."""
    for name in (sys.executable, *CANDIDATES):
        path = shutil.which(name)
        if not path:
            continue
        (major, minor), has_venv = inspect_python(path)
        if (major, minor) >= PYTHON and not has_venv:
            release = f"{major}.{minor}"
            return (
                f"Python {release} at {path} lacks ensurepip, so it makes no environments",
                f"sudo apt install python{release}-venv"
                if shutil.which("apt-get")
                else _command(1, "a full build of Python, ensurepip included"),
            )
    own = "{}.{}".format(*sys.version_info[:2])
    needed = "{}.{}".format(*PYTHON)
    return (
        f"Python {needed} or newer (found only {own} at {sys.executable})",
        _command(1, f"Python {needed} or newer from python.org"),
    )


def missing_node() -> list[tuple[str, str]]:
    """Return what is missing of Node.js and npm, each with the command that brings it."""
    accepted = node_releases()
    wanted = " or ".join(f"{minimum[0]}.{minimum[1]}" for _, minimum in accepted)
    name = f"Node.js {wanted} or newer"
    install = _command(2, "the LTS release from nodejs.org")
    if shutil.which("apt-get"):
        install += "   (where that is too old: the LTS release from nodejs.org)"
    missing = []
    node = shutil.which("node")
    if node is None:
        missing.append((name, install))
    else:
        version = _output([node, "--version"])
        numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
        if not any(
            numbers >= minimum and (not same_major or numbers[0] == minimum[0])
            for same_major, minimum in accepted
        ):
            found = version or "one that does not start"
            missing.append((f"{name} (found {found} at {node})", install))
    if shutil.which("npm") is None:
        missing.append(("npm, which comes with Node.js", install))
    return missing


def node_releases() -> list[tuple[bool, tuple[int, ...]]]:
    """Return the releases of Node.js that the page's package.json accepts.

    Each is a least version, and whether only its own major version is meant: `^20.19.0` is, and
    `>=22.12.0` is not.
    """
    wanted = json.loads(_PACKAGE.read_text(encoding="utf-8"))["engines"]["node"]
    return [
        (sign == "^", tuple(map(int, version.split("."))))
        for sign, version in re.findall(r"(\^|>=)\s*(\d+\.\d+\.\d+)", wanted)
    ]


def explain(missing: list[tuple[str, str]]) -> str:
    """Return the text that names each missing thing and the command that brings it."""
    lines = ["Maloca needs what this machine does not have yet:", ""]
    for what, command in missing:
        lines += [f"  {what}", f"      {command}"]
    return "\n".join([*lines, "", "Then run the same command again.", ""])


def _command(column: int, otherwise: str) -> str:
    """Return the words of the first package manager that is here."""
    for row in _MANAGERS:
        if shutil.which(row[0]):
            return row[column]
    return "install " + otherwise


def _output(command: list[str]) -> str:
    """Return a command's output, or nothing when it does not start."""
    try:
        answer = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return ""
    return answer.stdout.decode(errors="replace").strip()
