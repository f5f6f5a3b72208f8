"""`maloca up` as a user runs it, with fake models in place of the bundled ones."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from tests.cli.supervised import alive, free_port, wait_until
from tests.conftest import fake_store
from typer.testing import CliRunner

from maloca.asgi import records
from maloca.cli import up as up_command
from maloca.cli.main import app
from maloca.core.errors import ModelFailed
from maloca.engine.store.catalogue import catalogue
from maloca.engine.store.store import ModelStore
from maloca.server.page import page_folder

pytestmark = pytest.mark.process


class Up:
    """A running `maloca up` and what it printed."""

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        self.server = f"http://127.0.0.1:{(port := free_port())}"
        self.engine = f"http://127.0.0.1:{(engine_port := free_port())}"
        self._files = (home.parent / "up.out", home.parent / "up.err")
        ports = ["--port", str(port), "--engine-port", str(engine_port)]
        with self._files[0].open("wb") as output, self._files[1].open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maloca.cli.main", "up", *ports, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, **variables},
            )

    @property
    def output(self) -> str:
        return self._files[0].read_text(encoding="utf-8")

    @property
    def errors(self) -> str:
        return self._files[1].read_text(encoding="utf-8")

    def until_ready(self) -> None:
        wait_until(lambda: "curl" in self.output or self.process.poll() is not None, "readiness")
        assert self.process.poll() is None, self.errors

    def family(self) -> list[int]:
        """Return every process that it started, model workers included."""
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Up]]:
    fake_store(home / "models")
    with ExitStack() as stack:

        def begin(*options: str, **variables: str) -> Up:
            up = Up(home, *options, **variables)
            stack.enter_context(up.process)
            stack.callback(up.process.kill)
            return up

        yield begin


def test_from_start_to_end(start: Callable[..., Up], home: Path) -> None:
    up = start()
    up.until_ready()
    said = up.output.splitlines()
    assert said[0] == f"Maloca is ready: {up.server}"
    assert said[1].strip() == (
        f"curl -N {up.engine}/api/llm/generate -H 'Content-Type: application/json' -d "
        '\'{"messages": [{"role": "user", "content": "What is the capital of France?"}], '
        '"stream": true}\''
    )
    assert httpx.get(f"{up.server}/health").json()["engine"]["status"] == "ready"
    assert re.search(
        re.escape(f"Clients of OpenAI's API use {up.server}/v1 as their base URL.\n")
        + "Nobody owns this house yet, .* once and within 24 hours; .*:\n"
        + re.escape(f"  curl {up.server}/auth/setup -H 'Content-Type: application/json' -d ")
        + """'{"token": "mli_[0-9a-f]{40}", "username": "NAME", "password": "PASSWORD"}'\n"""
        + re.escape(f"Logs are in {home / 'logs'}. Ctrl-C stops everything.\n"),
        up.errors,
    )
    assert "mli_" not in "".join(
        path.read_text(encoding="utf-8") for path in (home / "logs").iterdir()
    )
    assert up.errors.startswith(
        "Starting engine, server, jobs …\n"
        if page_folder()
        else f"Warning: The web page is not built, so {up.server} will not show it."
    )
    assert "engine │ " in up.errors
    assert "\x1b" not in up.errors

    words = shlex.split(said[1])
    answer = httpx.post(
        words[words.index("-N") + 1], content=words[-1], headers=[words[-3].split(": ")]
    )
    assert answer.status_code == 200
    assert '"event":"done"' in answer.text

    again = CliRunner().invoke(app, ["up"])
    assert (again.exit_code, again.stdout) == (0, f"{up.server}\n")
    assert again.stderr == (f"Maloca already runs at {up.server} (pid {up.process.pid}).\n")

    family = up.family()
    assert len(family) >= 3  # The engine, its worker and the server.
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0
    wait_until(lambda: not alive(family), "end of every process", seconds=5)
    assert "Stopping …\n" in up.errors
    assert "Traceback" not in up.errors
    assert list((home / "run").iterdir()) == []
    assert "listening" in (home / "logs" / "engine.log").read_text(encoding="utf-8")


def test_a_killed_engine_comes_back(start: Callable[..., Up]) -> None:
    up = start(MALOCA_LANG="es")
    up.until_ready()
    assert up.output.startswith(f"Maloca está lista: {up.server}\n")
    record = records.find("engine")
    assert record is not None
    family = psutil.Process(record.pid).children(recursive=True)
    os.kill(record.pid, signal.SIGKILL)
    wait_until(lambda: "engine ha vuelto." in up.errors, "return of the engine")
    assert "engine fue terminado por la señal 9; vuelve a arrancar en 0.5 s.\n" in up.errors
    wait_until(lambda: not alive(p.pid for p in family), "end of its workers", seconds=5)
    assert httpx.get(f"{up.server}/health").json()["status"] == "ok"
    up.process.terminate()
    assert up.process.wait(60) == 0


def test_kill_9_leaves_nothing_behind(start: Callable[..., Up]) -> None:
    up = start()
    up.until_ready()
    family = up.family()
    up.process.kill()
    wait_until(lambda: not alive(family), "end of every process")
    assert records.find("up") is None


def test_sigterm_in_the_middle_of_the_start(start: Callable[..., Up], home: Path) -> None:
    up = start()
    wait_until(lambda: (home / "logs").exists() and up.family(), "start of a service")
    family = up.family()
    up.process.terminate()
    assert up.process.wait(60) == 0
    wait_until(lambda: not alive(family), "end of every process", seconds=5)
    assert "Traceback" not in up.errors


def test_a_model_that_cannot_be_loaded_stops_everything(home: Path) -> None:
    fake_store(home / "models", load="fail")
    up = Up(home)
    try:
        assert up.process.wait(60) == 1
    finally:
        up.process.kill()
    error = re.search(r"^Error: (.*)\n(.*)$", up.errors, re.MULTILINE)
    assert error is not None, up.errors
    assert error[1].startswith("engine failed: ")
    assert "tokenizer.json: told to fail" in error[1]
    assert str(home / "logs" / "engine.log") in error[2]
    assert up.output == ""


@pytest.mark.parametrize(("option", "which"), [("--port", 0), ("--engine-port", 1)])
def test_a_taken_port_is_named_with_the_way_out(home: Path, option: str, which: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [str(free_port()), str(free_port())]
        ports[which] = str(taken.getsockname()[1])
        result = CliRunner().invoke(
            app, ["up", "--no-open", "--port", ports[0], "--engine-port", ports[1]]
        )
    assert (result.exit_code, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith(f"Error: 127.0.0.1:{ports[which]} is taken by ")
    assert error.endswith(f"(pid {os.getpid()}).")
    assert hint.startswith(f"Stop that process, or choose another port: {option} ")
    assert not home.exists()


def test_one_port_cannot_serve_both() -> None:
    result = CliRunner().invoke(app, ["up", "--port", "8005", "--engine-port", "8005"])
    assert result.exit_code == 2
    assert "the page and the engine cannot share port 8005" in result.stderr


def test_the_token_of_the_engine_is_not_shown() -> None:
    line = up_command.curl("http://127.0.0.1:8001", has_token=True)
    assert line.endswith(' -H "Authorization: Bearer $MALOCA_ENGINE_TOKEN"')


class TestModels:
    @pytest.fixture
    def store(self, tmp_path: Path) -> ModelStore:
        return fake_store(tmp_path)

    @pytest.fixture
    def pulled(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Put a fake in the place of a pull, and note its name."""
        names: list[str] = []

        def pull(_: ModelStore, entry: object) -> None:
            names.append(entry.name)  # type: ignore[attr-defined]  # an Entry

        monkeypatch.setattr(up_command, "pull", pull)
        return names

    def test_nothing_is_fetched_when_all_is_there(
        self, store: ModelStore, pulled: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        up_command._fetch_models(store)
        assert pulled == []
        assert capsys.readouterr() == ("", "")

    def test_the_models_of_an_empty_store_are_fetched(
        self, tmp_path: Path, pulled: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ModelStore, "set_alias", lambda *_: None)
        up_command._fetch_models(ModelStore(tmp_path / "empty"))
        assert pulled == [entry.name for entry in catalogue().values() if entry.alias]

    def test_a_damaged_model_of_the_owner_is_theirs_to_mend(
        self, store: ModelStore, pulled: list[str]
    ) -> None:
        model = store.get("default")
        model.tokenizer.write_text("{}", encoding="utf-8")
        with pytest.raises(ModelFailed, match=re.escape(str(model.tokenizer))):
            up_command._fetch_models(store)
        assert pulled == []

    def test_an_alias_without_its_model_gets_the_bundled_one(
        self, store: ModelStore, pulled: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.set_alias("embedding", "fake-embedding")
        manifest = store.get("embedding").folder / "manifest.json"
        manifest.unlink()
        pointed: list[tuple[str, str]] = []
        monkeypatch.setattr(
            ModelStore, "set_alias", lambda _, alias, name: pointed.append((alias, name))
        )
        up_command._fetch_models(store)
        assert pulled == ["all-minilm-l6-v2"]
        assert pointed == [("embedding", "all-minilm-l6-v2")]


def test_the_curl_line_is_json_in_every_language(monkeypatch: pytest.MonkeyPatch) -> None:
    for language in ("en", "es"):
        monkeypatch.setenv("MALOCA_LANG", language)
        words = shlex.split(up_command.curl("http://127.0.0.1:8001", has_token=False))
        assert json.loads(words[-1])["stream"] is True
