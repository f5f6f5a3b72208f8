"""The wheel, installed as a stranger would into an empty environment, starts and answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from maloca.engine.store.store import ModelStore

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "src" / "maloca" / "server" / "page" / "index.html"

pytestmark = [pytest.mark.package, pytest.mark.real, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command; return what it printed."""
    answer = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that `make dist` builds, by way of the source archive."""
    assert PAGE.exists(), "the page is not built: run `make test` or `make dist`"
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder)
    assert len(list(folder.glob("maloca-*.tar.gz"))) == 1
    return next(folder.glob("maloca-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of an empty environment with the wheel and its engine extra."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    run(sys.executable, "-m", "venv", folder)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    pins = ROOT / "constraints.txt"
    run(programs / "python", "-m", "pip", "install", "-c", pins, f"{wheel}[engine]")
    return programs


@pytest.fixture
def service(
    installed: Path, tmp_path: Path, real_store: ModelStore
) -> Iterator[tuple[subprocess.Popen[bytes], int, int, Path]]:
    """Yield `maloca up` of that environment with its two ports and its log."""
    port, engine_port = free_ports(2)
    log = tmp_path / "up.log"
    settings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MALOCA_")},
        "MALOCA_HOME": str(tmp_path / "home"),
        "MALOCA_MODELS_DIR": str(real_store.path),
    }
    options = ("--no-open", "--port", str(port), "--engine-port", str(engine_port))
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(installed / "maloca"), "up", *options],
            # Far from the checkout, whose sources must play no part.
            cwd=tmp_path,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process, port, engine_port, log
        finally:
            if process.poll() is None:
                process.kill()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> httpx.Response:
    """Return the first good answer of a service that is starting."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert process.poll() is None, f"maloca up ended:\n{log.read_text()}"
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.is_success:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"{url} never answered:\n{log.read_text()}")


def test_the_page_is_in_the_wheel_and_the_sources_of_the_page_are_not(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    page = {name for name in names if name.startswith("maloca/server/page/")}
    built = {
        f"maloca/server/page/{path.relative_to(PAGE.parent).as_posix()}"
        for path in PAGE.parent.rglob("*")
        if path.is_file()
    }
    assert page == built
    assert any(name.endswith(".js") for name in page)
    outside = [name for name in names if not name.startswith(("maloca/", "maloca-"))]
    assert outside == []
    assert "maloca/py.typed" in names


def test_an_empty_environment_gets_no_torch(installed: Path) -> None:
    listing = json.loads(run(installed / "python", "-m", "pip", "list", "--format", "json"))
    names = {one["name"].lower() for one in listing}
    assert {"maloca", "fastapi", "openvino-genai"} <= names
    assert not names & {"torch", "transformers", "sentence-transformers"}


def test_it_starts_answers_and_leaves_nothing_behind(
    service: tuple[subprocess.Popen[bytes], int, int, Path],
) -> None:
    process, port, engine_port, log = service
    wait_until_ready(process, f"http://127.0.0.1:{engine_port}/health/ready", log)
    wait_until_ready(process, f"http://127.0.0.1:{port}/health/ready", log)
    page = httpx.get(f"http://127.0.0.1:{port}/")
    assert page.status_code == 200
    assert page.text == PAGE.read_text(encoding="utf-8")

    for one in (engine_port, port):
        answer = httpx.post(
            f"http://127.0.0.1:{one}/v1/chat/completions",
            json={
                "model": "default",
                "messages": [{"role": "user", "content": "What is the capital of France?"}],
                "max_tokens": 24,
                "temperature": 0,
            },
            timeout=120,
        )
        assert answer.status_code == 200, answer.text
        assert "Paris" in answer.json()["choices"][0]["message"]["content"]

    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3, "an engine, a server and at least one model worker"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0, log.read_text()
    _, left = psutil.wait_procs(family, timeout=20)
    assert left == [], f"left behind: {left}"
