"""Write what the two services offer to docs/openapi/.

With --check, compare with what is there instead, and fail when they differ.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from maloca.engine.app import create_app as create_engine
from maloca.engine.settings import EngineSettings
from maloca.server.app import create_app as create_server
from maloca.server.settings import ServerSettings

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "openapi"


def documents() -> dict[str, str]:
    """Return each file's name and the text that it should have."""
    apps = {
        "engine.json": create_engine(EngineSettings.load()),
        "server.json": create_server(ServerSettings.load()),
    }
    return {
        name: json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for name, app in apps.items()
    }


def differences(folder: Path = FOLDER) -> Iterator[str]:
    """Yield, line by line, how the files of a folder differ from what they should be."""
    for name, wanted in documents().items():
        path = folder / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        yield from difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), f"{name} (committed)", f"{name} (now)", "", ""
        )


def main() -> int:
    """Write the files, or compare with --check."""
    if "--check" in sys.argv[1:]:
        found = list(differences())
        print("\n".join(found) if found else "docs/openapi is up to date")
        if found:
            print("\nRun `make openapi` and commit what it writes.")
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/openapi/{name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
