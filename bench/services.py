"""Children that a benchmark measures: engine, server, the bare runtime. All on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 120.0


def free_port() -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def service(*command: str, models_dir: Path, **environment: str) -> Iterator[str]:
    """Run `maloca COMMAND --port …` until the context ends; yield its URL once it is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="maloca-bench-") as home:
        child = subprocess.Popen(
            [sys.executable, "-m", "maloca.cli.main", *command, "--port", str(port)],
            env=os.environ
            | {"MALOCA_HOME": home, "MALOCA_MODELS_DIR": str(models_dir)}
            | {"MALOCA_LOG_LEVEL": "warning"}
            | environment,
        )
        try:
            _wait(child, url)
            yield url
        finally:
            child.terminate()
            child.wait(30)


def _wait(child: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url + "/health/ready", timeout=5).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{child.args!r} was not ready within {START_SECONDS:.0f} s")


class BareOpenVino:
    """The bare runtime in a process of its own; see `bench.bare_openvino`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.bare_openvino", str(folder), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            raise RuntimeError("the bare runtime did not start")

    def run(self, prompts: list[list[int]], new_tokens: int) -> dict[str, float]:
        """Generate for all prompts at once; return ttft and seconds, and the tokens made."""
        if self._child.stdin is None:
            raise RuntimeError("the bare runtime has no input")
        self._child.stdin.write(json.dumps([prompts, new_tokens]) + "\n")
        self._child.stdin.flush()
        answer: dict[str, float] = json.loads(self._line())
        return answer

    def close(self) -> None:
        """End the process."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait(30)
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _line(self) -> str:
        line = self._child.stdout.readline() if self._child.stdout else ""
        if not line:
            raise RuntimeError("the bare runtime ended")
        return line.strip()
