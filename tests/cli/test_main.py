"""The command as a whole: help, version, mistakes, completion."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import maloca
from maloca.cli.lazy import COMMANDS, load
from maloca.cli.main import app

pytestmark = pytest.mark.process

HELP = """\
Usage: maloca [OPTIONS] COMMAND [ARGS]...

  A house for your own language models, on your own machine.

Options:
  --version             Print the version.
  --install-completion  Install completion for the current shell.
  --show-completion     Show completion for the current shell, to copy it or
                        customize the installation.
  -h, --help            Show this message and exit.

Commands:
  up       Start everything on this machine and open the page.
  chat     Talk with a model, or answer what stdin asks.
  models   List, fetch, show and remove models.
  doctor   Check this machine, and say what to fix.
  db       Back up, restore and migrate the database.
  jobs     List, show and cancel jobs.
  admin    Manage the accounts of this house.
  engine   Run the inference service alone.
  server   Run the application service alone.
  version  Print the version.
"""


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "maloca.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env={**os.environ, **variables},
    )


def test_help() -> None:
    done = run("--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, HELP, "")


def test_no_command_is_bad_usage_and_shows_the_help() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == HELP.strip()


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from maloca.cli.main import app\n"
        "for arguments in (['--help'], ['version']):\n"
        "    app(arguments, standalone_mode=False)\n"
        "heavy = {'fastapi', 'httpx', 'openvino_genai', 'pydantic_settings', 'psutil', 'uvicorn'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_listed_help_is_the_commands_own(name: str) -> None:
    assert load(name).help.partition("\n")[0] == COMMANDS[name].help


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"maloca {maloca.__version__}\n"


def test_version_json() -> None:
    result = CliRunner().invoke(app, ["version", "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "version": maloca.__version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
    }


@pytest.mark.parametrize(
    ("arguments", "usage", "error"),
    [
        (["chta"], "maloca [OPTIONS] COMMAND", "No such command 'chta'. Did you mean 'chat'?"),
        (["xyzzy"], "maloca [OPTIONS] COMMAND", "No such command 'xyzzy'."),
        (["engine", "serv"], "maloca engine [OPTIONS]", "No such command 'serv'. Did you mean"),
        (["version", "--yaml"], "maloca version [OPTIONS]", "No such option: --yaml"),
        (["up", "--port", "70000"], "maloca up [OPTIONS]", "Invalid value for '--port': "),
        (["up", "--port", "x"], "maloca up [OPTIONS]", "Invalid value for '--port': "),
        (["chat", "--temperature", "3"], "maloca chat [OPTIONS]", "Invalid value for '--temp"),
        (["chat", "--max-tokens", "0"], "maloca chat [OPTIONS]", "Invalid value for '--max-t"),
    ],
)
def test_bad_usage(arguments: list[str], usage: str, error: str) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="maloca")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Usage: {usage}")
    assert f"\nError: {error}" in result.stderr


def test_a_bad_setting_names_variable_value_and_form() -> None:
    done = run("server", "serve", MALOCA_PORT="abc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: MALOCA_PORT='abc' cannot be used: "
        "Input should be a valid integer, unable to parse string as an integer.\n"
    )


def test_every_bad_setting_is_named(home: Path) -> None:
    variables = {"MALOCA_ENGINE_PORT": "-1", "MALOCA_ENGINE_THREADS": "many"}
    result = CliRunner(env=variables).invoke(app, ["engine", "serve"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: MALOCA_ENGINE_PORT='-1' cannot be used: " in result.stderr
    assert "Error: MALOCA_ENGINE_THREADS='many' cannot be used: " in result.stderr
    assert not home.exists()


@pytest.mark.usefixtures("home")
def test_the_server_stays_on_loopback_until_it_has_an_owner() -> None:
    arguments = ["server", "serve", "--host", "0.0.0.0"]  # noqa: S104 - it is refused
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: MALOCA_HOST='0.0.0.0' cannot be used: 0.0.0.0 can be reached from other machines, "
        "and nobody owns this house yet to keep strangers out; use 127.0.0.1, localhost or ::1, or "
        "make the owner first: `maloca admin users add NAME --role owner`.\n"
    )


@pytest.mark.parametrize("service", ["engine", "server"])
def test_a_taken_port_is_named_with_the_way_out(service: str, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(service, "serve", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"Error: 127.0.0.1:{port} is taken by ")
    assert error.endswith(f"(pid {os.getpid()}).")
    assert hint.startswith("Stop that process, or choose another port: --port ")
    assert not home.exists()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maloca.cli.engine", None)
    monkeypatch.setattr(
        "maloca.cli.lazy.import_module",
        lambda _: (_ for _ in ()).throw(ModuleNotFoundError(name="tokenizers")),
    )
    result = CliRunner().invoke(app, ["engine", "serve"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: `maloca engine` needs the package 'tokenizers'.\n"
        "Install Maloca with its engine: `pip install 'maloca[engine]'`.\n"
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("maloca ", set(COMMANDS)),
        ("maloca mo", {"models"}),
        ("maloca models p", {"pull", "path"}),
        ("maloca doctor --j", {"--json"}),
    ],
)
def test_the_shell_completes(words: str, found: set[str]) -> None:
    place = str(len(words.split(" ")) - 1)
    asked = {"_MALOCA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}
    result = CliRunner(env=asked).invoke(app, [], prog_name="maloca")
    assert (result.exit_code, result.stderr) == (0, "")
    assert set(result.stdout.split()) == found


def test_the_completion_script_can_be_shown() -> None:
    done = run("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete -o default -F _maloca_completion maloca" in done.stdout


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "maloca.cli.main", "version"],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == b""
