"""Pulls one model in a process of its own; stops for ever in the phase that the test names.

Arguments: the store's folder, a file with the catalogue entry as JSON, and perhaps a phase.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from maloca.engine.store.catalogue import Entry
from maloca.engine.store.progress import Phase
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore

if __name__ == "__main__":
    root, entry_file, *stop_in = sys.argv[1:]
    seen: set[str] = set()

    def report(phase: Phase, done: int, total: int) -> None:
        del done, total
        if phase in seen:
            return
        seen.add(phase)
        sys.stdout.write(f"{phase}\n")
        sys.stdout.flush()
        if phase in stop_in:
            time.sleep(600)

    entry = msgspec.json.decode(Path(entry_file).read_bytes(), type=Entry)
    pull(ModelStore(Path(root)), entry, progress=report)
