"""The Chromium that the browser tests drive: the system's, else Debian's, else Playwright's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from house.console import StageFailed, run_quietly, say
from house.environment import Environment

VARIABLE = "MALOCA_CHROMIUM"

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)


def find() -> str | None:
    """Return the path of an installed browser that starts, or None.

    Raises:
        StageFailed: MALOCA_CHROMIUM names a program that does not start.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        if not starts(chosen):
            raise StageFailed(f"{VARIABLE}={chosen} does not start; name a Chromium, or unset it.")
        return chosen
    candidates = [*filter(None, map(shutil.which, _NAMES)), *_PLACES]
    return next((path for path in candidates if starts(path)), None)


def starts(path: str) -> bool:
    """Tell whether a browser answers to --version: Ubuntu's package may be an empty shell."""
    if os.name == "nt":
        # Chrome opens a window there instead of answering.
        return Path(path).exists()
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def ensure(environment: Environment) -> str | None:
    """Return a browser's path, installing one where none is; None where that cannot be done.

    Raises:
        StageFailed: There is none, and CI=true demands one.
    """
    found = find() or _from_apt(environment) or _from_playwright(environment)
    if found is None:
        advice = f"install Chromium or Google Chrome, or name one with {VARIABLE}"
        if os.environ.get("CI") == "true":
            raise StageFailed(f"browser: none is here and none could be installed; {advice}.")
        say(f"  browser: none, so its tests are skipped; {advice}")
    return found


def _from_apt(environment: Environment) -> str | None:
    """Install Debian's Chromium where this user may."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not root or shutil.which("apt-get") is None:
        return None
    log = environment.root / "build" / "logs" / "browser.log"
    settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ("apt-get", "install", "--yes", "--no-install-recommends", "chromium")
    try:
        for command in (("apt-get", "update"), install):
            run_quietly("browser", command, log, cwd=environment.root, env=settings)
    except StageFailed as failure:
        say(str(failure))
        return None
    return find()


def _from_playwright(environment: Environment) -> str | None:
    """Install Playwright's own Chromium into the user's cache."""
    log = environment.root / "build" / "logs" / "browser.log"
    if sys.platform == "linux" and shutil.which("ldd") is None:
        return None
    try:
        run_quietly(
            "browser",
            [environment.python, "-m", "playwright", "install", "chromium"],
            log,
            cwd=environment.root,
        )
    except StageFailed as failure:
        say(str(failure))
        return None
    where = (
        "from playwright.sync_api import sync_playwright as p\n"
        "with p() as tools: print(tools.chromium.executable_path)"
    )
    answer = subprocess.run(
        [environment.python, "-c", where], capture_output=True, text=True, check=False
    )
    path = answer.stdout.strip()
    return path if path and starts(path) else None
