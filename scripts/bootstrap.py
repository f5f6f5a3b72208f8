"""Set this checkout up and run it: the program behind `make up`, `make test` and the rest.

It needs only the standard library. This file and `house/machine.py` stay readable to Pythons older
than Maloca needs, so that those can hand over to a newer one, or say what is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from house import machine

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the command that the arguments name, under a Python that can."""
    if not machine.suits(sys.executable):
        return _hand_over()
    from house.commands import run  # noqa: PLC0415 - an older Python could not read that file.

    return run(ROOT, sys.argv[1:])


def _hand_over() -> int:
    """Start again under a newer Python of this machine; without one, say what is missing."""
    found = machine.find_python()
    if found is None:
        missing = [machine.missing_python()]
        if not (ROOT / "src/maloca/server/page/index.html").exists():
            missing += machine.missing_node()
        sys.stderr.write(machine.explain(missing))
        return 1
    command = [found, str(Path(__file__).resolve()), *sys.argv[1:]]
    if os.name == "posix":
        os.execv(found, command)  # noqa: S606 - the same program, started again on purpose.
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main())
