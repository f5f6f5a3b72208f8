"""`maloca doctor`: its report, and each check on a machine that is not well."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import pytest
from tests.conftest import fake_store
from typer.testing import CliRunner

import maloca
from maloca.asgi import records
from maloca.cli import machine_checks, readiness, service_checks
from maloca.cli.check import Check
from maloca.cli.main import app
from maloca.core.home import models_dir
from maloca.engine.store.catalogue import catalogue
from maloca.engine.store.store import ModelStore

pytestmark = pytest.mark.process

PACKAGES = machine_checks._ENGINE_PACKAGES
NAMES = [
    "python",
    "cpu",
    "memory",
    "home",
    "disk",
    "engine",
    "node",
    "page",
    "settings",
    "model:default",
    "model:embedding",
    "port:server",
    "port:engine",
    "service:engine",
    "service:server",
]
GIB = 1024**3


class Live(Protocol):
    url: str


@pytest.fixture(autouse=True)
def _own_state(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a home of its own, ports that nobody else uses, and a quick engine."""
    monkeypatch.setattr(machine_checks, "_ENGINE_PACKAGES", {"tokenizers": "tokenizers"})
    home.mkdir(mode=0o700)
    monkeypatch.setenv("MALOCA_PORT", "0")
    monkeypatch.setenv("MALOCA_ENGINE_PORT", "0")


def doctor(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_json() -> None:
    fake_store(models_dir())
    code, output, errors = doctor("--json")
    report = json.loads(output)
    assert (code, errors) == (0, "")
    assert report.keys() == {"ok", "version", "checks"}
    assert (report["ok"], report["version"]) == (True, maloca.__version__)
    checks = msgspec.convert(report["checks"], list[Check], strict=True)
    assert [check.name for check in checks] == NAMES
    assert all((check.fix is None) == (check.status == "ok") for check in checks)


def test_the_report_for_people(home: Path) -> None:
    fake_store(models_dir())
    code, output, errors = doctor()
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert [line.split()[1] for line in lines if line[:4].strip()][:-1] == NAMES
    assert "ok    model:default     default is fake, 5.4 KiB, whole" in lines
    assert "ok    service:engine    not running" in lines
    assert f"ok    home              {home} can be written, " in output


def test_what_fails_comes_with_a_fix_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALOCA_PORT", "abc")
    monkeypatch.setenv("MALOCA_LANG", "es")
    code, output, _ = doctor()
    assert code == 1
    assert (
        "fail  settings          MALOCA_PORT='abc' cannot be used: "
        "Input should be a valid integer, unable to parse string as an integer.\n"
        "                        → Corrige o quita esa variable, en el entorno o en .env.\n"
    ) in output
    assert (
        "warn  model:default     todavía no hay un modelo default\n"
        "                        → `maloca up` lo trae, o "
        "`maloca models pull smollm2-135m-instruct`.\n"
    ) in output
    assert "1 con fallos, " in output.splitlines()[-1]


def test_a_damaged_model() -> None:
    store = fake_store(models_dir())
    tokenizer = store.get("default").tokenizer
    tokenizer.write_text("{}", encoding="utf-8")
    code, output, _ = doctor("--json")
    found = {check["name"]: check for check in json.loads(output)["checks"]}["model:default"]
    assert code == 1
    assert found["status"] == "fail"
    assert str(tokenizer) in found["message"]
    assert "maloca models pull fake" in found["fix"]


@pytest.mark.parametrize(
    ("flags", "machine", "status", "says"),
    [
        ({"avx2", "avx512f"}, "x86_64", "ok", "AVX-512"),
        ({"avx2"}, "x86_64", "ok", "AVX2"),
        ({"sse4_2"}, "x86_64", "warn", "without AVX2"),
        (None, "riscv64", "ok", "does not tell"),
        (set(), "arm64", "ok", "NEON"),
        (None, "aarch64", "ok", "NEON"),
    ],
)
def test_cpu(
    flags: set[str] | None,
    machine: str,
    status: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    found = machine_checks.cpu(None if flags is None else frozenset(flags))
    assert found.status == status
    assert says in found.message


@pytest.mark.parametrize(
    ("available", "status"), [(8 * GIB, "ok"), (GIB // 2, "warn"), (GIB // 8, "fail")]
)
def test_memory(available: int, status: str) -> None:
    assert machine_checks.memory(available, 16 * GIB).status == status


@pytest.mark.parametrize(
    ("free", "status"), [(8 * GIB, "ok"), (GIB // 2, "warn"), (GIB // 8, "fail")]
)
def test_disk(free: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = machine_checks.shutil._ntuple_diskusage(9 * GIB, 0, free)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    found = machine_checks.disk(tmp_path / "not" / "yet")
    assert found.status == status
    assert str(tmp_path / "not" / "yet") in found.message


def test_a_home_that_others_can_write(home: Path) -> None:
    home.chmod(0o777)
    found = machine_checks.state_folder(home)
    assert (found.status, found.fix) == ("warn", f"chmod go-w {home}")
    assert "(mode 777)" in found.message


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = machine_checks.state_folder(file)
    assert found.status == "fail"
    assert found.message == f"{file} cannot be written: Not a directory"


def test_a_home_that_does_not_exist_yet_is_not_made(tmp_path: Path) -> None:
    assert machine_checks.state_folder(tmp_path / "a" / "b").status == "ok"
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


class TestEngine:
    def test_it_says_which_versions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine_checks, "_ENGINE_PACKAGES", PACKAGES)
        found = machine_checks.engine_packages()
        assert found.status == "ok"
        assert "openvino-genai 20" in found.message
        assert "tokenizers 0." in found.message

    def test_a_package_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine_checks, "_ENGINE_PACKAGES", {"no-such-package": "nothing"})
        found = machine_checks.engine_packages()
        assert (found.status, found.fix) == ("fail", "pip install 'maloca[engine]'")
        assert found.message == "not installed: no-such-package"

    def test_one_is_not_needed_where_the_engine_is_elsewhere(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(machine_checks, "_ENGINE_PACKAGES", {"no-such-package": "nothing"})
        monkeypatch.setenv("MALOCA_ENGINE_URL", "http://127.0.0.1:9")
        assert machine_checks.engine_packages().status == "warn"

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("raise ImportError('libtbb.so.12 is missing')", "libtbb.so.12 is missing"),
            ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
        ],
    )
    def test_a_package_that_does_not_load(
        self, code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "broken_wheel.py").write_text(code, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(machine_checks, "_ENGINE_PACKAGES", {"tokenizers": "broken_wheel"})
        found = machine_checks.engine_packages()
        assert found.status == "fail"
        assert found.message.startswith("tokenizers 0.")
        assert reason in found.message


@pytest.mark.parametrize(
    ("version", "status"), [("v24.1.0", "ok"), ("v18.20.1", "warn"), ("oops", "warn")]
)
@pytest.mark.skipif(sys.platform == "win32", reason="the fake node is a shell script")
def test_node(version: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "node"
    program.write_text(f"#!/bin/sh\necho {version}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = machine_checks.node()
    assert found.status == status
    assert version.removeprefix("v") in found.message


def test_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine_checks.node().status == "warn"


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        found = service_checks.port("server", "127.0.0.1", number, "--port")
    assert found.status == "fail"
    assert f"127.0.0.1:{number} is taken by " in found.message
    assert "--port " in (found.fix or "")


class TestServices:
    @pytest.fixture
    def recorded(self, live_engine: Live) -> Iterator[records.Record]:
        """Record the engine of the tests as the one of this machine."""
        record = records.write("engine", live_engine.url)
        yield record
        records.remove(record)

    async def test_a_running_one_tells_how_it_is(self, recorded: records.Record) -> None:
        found = await service_checks.service("engine")
        assert (found.status, found.message) == ("ok", f"ready at {recorded.url}")

    def test_its_port_is_no_trouble(self, recorded: records.Record) -> None:
        number = int(recorded.url.rpartition(":")[2])
        found = service_checks.port("engine", "127.0.0.1", number, "--engine-port")
        assert found.status == "ok"
        assert found.message == f"{number} is used by maloca engine (pid {os.getpid()})"

    async def test_another_version_is_named(self, recorded: records.Record) -> None:
        old = msgspec.structs.replace(recorded, version="0.0.1")
        (records.folder() / "engine.json").write_bytes(msgspec.json.encode(old))
        found = await service_checks.service("engine")
        assert found.status == "warn"
        assert f"version 0.0.1 runs at {recorded.url}" in found.message

    async def test_one_that_does_not_speak_http(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readiness, "_ASK_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = records.url_of("127.0.0.1", mute.getsockname()[1])
            records.write("server", url)
            found = await service_checks.service("server")
        assert found.status == "fail"
        assert found.message.startswith(f"runs at {url} (pid {os.getpid()}), but does not answer: ")


def test_the_catalogues_models_are_what_is_looked_for(tmp_path: Path) -> None:
    entry = catalogue()["all-minilm-l6-v2"]
    found = service_checks.model(ModelStore(tmp_path), entry, "embedding")
    assert (found.name, found.status) == ("model:embedding", "warn")
    assert "`maloca models pull all-minilm-l6-v2`" in (found.fix or "")
