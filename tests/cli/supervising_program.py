"""A supervisor of its own, to be killed: supervising_program.py FOLDER '{"name": {…}, …}'."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.cli.supervised import Told, Tried

from maloca.cli.supervisor import Supervisor

FOLDER = Path(sys.argv[1])
TRIED = [Tried(FOLDER, name, **options) for name, options in json.loads(sys.argv[2]).items()]


async def main() -> None:
    supervisor = Supervisor(
        [tried.service for tried in TRIED], logs=FOLDER / "logs", reporter=Told()
    )
    await supervisor.run((FOLDER / "ready").touch)


asyncio.run(main())
