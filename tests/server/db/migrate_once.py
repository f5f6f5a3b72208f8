"""Migrates a database when told to, and says which revisions it applied.

Usage: `python migrate_once.py URL`
"""

from __future__ import annotations

import asyncio
import sys

from maloca.server.db import versions
from maloca.server.db.database import database_url

if __name__ == "__main__":
    url = database_url(sys.argv[1])
    print("ready", flush=True)  # noqa: T201 - the test waits for it
    sys.stdin.readline()
    print(*asyncio.run(versions.upgrade(url)))  # noqa: T201 - the test reads it
