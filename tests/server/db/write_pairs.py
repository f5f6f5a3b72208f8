"""Moves amounts between two jobs until it is killed; their sum is 100 in every committed state.

Usage: `python write_pairs.py URL`
"""

from __future__ import annotations

import asyncio
import itertools
import sys

import sqlalchemy as sa

from maloca.server.db import tables  # noqa: F401 - a job refers to users
from maloca.server.db.database import Database, database_url
from maloca.server.jobs.models import Job


async def main(url: str) -> None:
    database = Database(database_url(url))
    for amount in itertools.cycle(range(100)):
        async with database.write() as session:
            for name, value in (("left", amount), ("right", 100 - amount)):
                query = sa.update(Job).where(Job.id == name).values(priority=value)
                await session.execute(query)
                await asyncio.sleep(0)
        if amount == 1:
            print("writing", flush=True)  # noqa: T201 - the test waits for it


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
