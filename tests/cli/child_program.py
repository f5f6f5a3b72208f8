"""A small service for the tests of the supervisor: child_program.py '{"port": 1, "pids": "…"}'.

port            where `GET /` says whether it is ready
pids            a file that gets this process's id, and those of what it starts, a line a run
says            bytes to print at the start, in Latin-1
exit_code       ends with it at the start
from_run        the run, counted from 1, from which `exit_code` holds
crash           ends with exit code 70 as soon as it has said that it is ready
never           what it answers instead of ever being ready
deaf            ignores SIGTERM and the end of its stdin
child           starts a process that lives for ten minutes and holds the output open
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = json.loads(sys.argv[1])


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = OPTIONS.get("never")
        self.send_response(503 if body else 200)
        self.end_headers()
        self.wfile.write(json.dumps(body or {}).encode())
        if OPTIONS.get("crash"):
            os._exit(70)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    family = [os.getpid()]
    if OPTIONS.get("child"):
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        family.append(subprocess.Popen(sleeper).pid)
    with Path(OPTIONS["pids"]).open("a+", encoding="utf-8") as file:
        file.write(" ".join(map(str, family)) + "\n")
        file.seek(0)
        run = len(file.readlines())
    sys.stdout.buffer.write(OPTIONS.get("says", "").encode("latin-1"))
    sys.stdout.flush()
    if "exit_code" in OPTIONS and run >= OPTIONS.get("from_run", 1):
        sys.exit(OPTIONS["exit_code"])
    if OPTIONS.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = ThreadingHTTPServer(("127.0.0.1", OPTIONS["port"]), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    while OPTIONS.get("deaf"):
        time.sleep(60)


main()
