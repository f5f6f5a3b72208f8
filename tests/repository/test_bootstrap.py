"""The set-up, run for real in a small checkout: what it does, what it skips, how it fails."""

from __future__ import annotations

import ast
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from tests.repository.checkout import ROOT, Checkout

from house.environment import Environment

pytestmark = pytest.mark.process

ALL = ["pip", "npm ci", "npm run build"]


def wait_for(path: Path) -> None:
    """Return when a file is there."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def wait_for_the_end(pid: int) -> None:
    """Return when no process has that id."""
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline, f"process {pid} was left behind"
        time.sleep(0.02)


def test_each_stage_runs_once_and_again_only_for_what_changed(checkout: Checkout) -> None:
    first = checkout.run("up", "--port", "9000")
    assert (first.returncode, first.stdout) == (0, "maloca up --port 9000\n"), first.stderr
    assert checkout.calls == ALL

    second = checkout.run("up")
    assert (second.returncode, second.stdout, second.stderr) == (0, "maloca up\n", "")
    assert checkout.calls == ALL

    checkout.write("web/src/App.svelte", "<h1>buenos días</h1>")
    checkout.run("up")
    assert checkout.calls == [*ALL, "npm run build"]

    checkout.write("web/package-lock.json", '{"name": "maloca"}')
    checkout.run("up")
    assert checkout.calls == [*ALL, "npm run build", "npm ci", "npm run build"]

    before = len(checkout.calls)
    pyproject = (checkout.root / "pyproject.toml").read_text()
    checkout.write("pyproject.toml", pyproject.replace("size = 1", "size = 2"))
    checkout.run("up")
    assert checkout.calls[before:] == [], "a tool's setting is no reason to install"

    checkout.write("constraints.txt", "quinoa==1.0\n")
    assert checkout.run("up").stdout == "maloca up\n"
    assert checkout.calls[before:] == ["pip"]


def test_a_lost_python_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.pretend_environment()
    checkout.run("up")
    python = checkout.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout.tools / "gone")
    lost = checkout.run("up")
    assert (lost.returncode, lost.stdout) == (0, "maloca up\n"), lost.stderr
    assert ".venv: made anew" in lost.stderr


def test_an_environment_works_only_where_it_was_made(checkout: Checkout) -> None:
    checkout.pretend_environment()
    assert Environment(checkout.root, checkout.root / ".venv").works
    moved = checkout.root.rename(checkout.root.with_name("otra casa"))
    assert not Environment(moved, moved / ".venv").works


def test_an_interrupted_install_leaves_no_process_and_goes_on_the_next_time(
    checkout: Checkout,
) -> None:
    checkout.write("pip-hangs", "")
    with subprocess.Popen(checkout.command("up"), env=checkout.environment) as process:
        wait_for(checkout.root / "pip-pid")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    wait_for_the_end(int((checkout.root / "pip-pid").read_text()))
    site = next((checkout.root / ".venv").rglob("site-packages"))
    half = site / "quinoa-1.0.dist-info"
    half.mkdir()
    (half / "METADATA").write_text("Metadata-Version: 2.1\nName: quinoa\nVersion: 1.0\n")
    (checkout.root / "pip-hangs").unlink()

    again = checkout.run("up")
    assert (again.returncode, again.stdout) == (0, "maloca up\n"), again.stderr
    assert "virtual environment" not in again.stderr
    assert not half.exists(), "metadata without a list of files would pass for an install"


def test_signals_reach_the_program_itself(checkout: Checkout) -> None:
    checkout.pretend_environment()
    with subprocess.Popen(
        checkout.command("up", "--wait"), env=checkout.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"maloca up --wait\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 7


@pytest.mark.parametrize(
    ("broken", "stage", "said", "log"),
    [
        ("pip-fails", "packages", "no such package: quinoa", "packages.log"),
        ("npm-fails", "page's packages", "no such file: App.svelte", "page.log"),
    ],
)
def test_a_failing_stage_shows_the_end_of_its_output_and_where_all_of_it_is(
    checkout: Checkout, broken: str, stage: str, said: str, log: str
) -> None:
    checkout.pretend_environment()
    checkout.write(broken, "")
    failed = checkout.run("up")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert f"{stage}: failed (exit status" in failed.stderr
    assert f"    {said}" in failed.stderr
    assert str(checkout.root / "build" / "logs" / log) in failed.stderr
    assert failed.stderr.endswith("up: stopped.\n")
    assert "Traceback" not in failed.stderr.partition("The end of its output")[0]

    (checkout.root / broken).unlink()
    assert checkout.run("up").stdout == "maloca up\n"


def test_missing_node_is_named_before_anything_is_installed(checkout: Checkout) -> None:
    (checkout.tools / "node").unlink()
    (checkout.tools / "npm").unlink()
    checkout.tool("brew", "#!/bin/sh\n")
    failed = checkout.run("up")
    assert failed.returncode == 1
    assert "  Node.js 20.19 or 22.12 or newer\n      brew install node\n" in failed.stderr
    assert "  npm, which comes with Node.js\n" in failed.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize("version", ["v18.20.4", "v20.18.3", "v21.7.0", "v22.11.0", "oops"])
def test_a_node_that_cannot_build_the_page_is_named(checkout: Checkout, version: str) -> None:
    checkout.settings["NODE_VERSION"] = version
    failed = checkout.run("up")
    assert failed.returncode == 1
    assert f"(found {version} at {checkout.tools / 'node'})" in failed.stderr


def test_a_built_page_needs_no_node(checkout: Checkout) -> None:
    checkout.pretend_environment()
    checkout.run("up")
    (checkout.tools / "node").unlink()
    (checkout.tools / "npm").unlink()
    assert checkout.run("up").stdout == "maloca up\n"


OLD = """
import sys
sys.argv[0] = {script!r}
sys.path.insert(0, {scripts!r})
from house import machine
machine.PYTHON = (9, 9)
import bootstrap
sys.exit(bootstrap.main())
"""


def run_under_an_old_python(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """Run the set-up as if this Python were too old for it."""
    script = checkout.root / "scripts" / "bootstrap.py"
    code = OLD.format(script=str(script), scripts=str(script.parent))
    return subprocess.run(
        [*checkout.command()[:1], "-c", code, "up", "--port", "9000"],
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_hands_over_to_a_newer_one(checkout: Checkout) -> None:
    checkout.tool("python3.13", "#!/bin/sh\nexit 127\n")
    checkout.tool(
        "python3.12", '#!/bin/sh\ncase "$1" in -c) echo 9 9 1 ;; *) echo "new:$@" ;; esac\n'
    )
    answer = run_under_an_old_python(checkout)
    script = checkout.root / "scripts" / "bootstrap.py"
    assert answer.stdout == f"new:{script} up --port 9000\n"


def test_everything_that_is_missing_is_named_at_once(checkout: Checkout) -> None:
    checkout.settings["NODE_VERSION"] = "v18.20.4"
    checkout.tool("dnf", "#!/bin/sh\n")
    answer = run_under_an_old_python(checkout)
    assert answer.returncode == 1
    assert "Python 9.9 or newer (found only 3." in answer.stderr
    assert "sudo dnf install python3.12" in answer.stderr
    assert "Node.js 20.19 or 22.12 or newer (found v18.20.4" in answer.stderr
    assert "sudo dnf install nodejs npm" in answer.stderr


def test_debians_separate_venv_package_is_named(checkout: Checkout) -> None:
    checkout.tool("python3.12", "#!/bin/sh\necho 9 12 0\n")
    checkout.tool("apt-get", "#!/bin/sh\n")
    answer = run_under_an_old_python(checkout)
    assert answer.returncode == 1
    assert f"Python 9.12 at {checkout.tools / 'python3.12'} lacks ensurepip" in answer.stderr
    assert "sudo apt install python9.12-venv" in answer.stderr


@pytest.mark.parametrize("name", ["bootstrap.py", "house/machine.py", "house/__init__.py"])
def test_what_an_old_python_reads_it_understands(name: str) -> None:
    source = (ROOT / "scripts" / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
    assert name == "house/__init__.py" or "from __future__ import annotations" in source


def test_a_folder_that_is_no_environment_is_left_alone(checkout: Checkout) -> None:
    checkout.write("thesis/chapter.txt", "words")
    checkout.settings["VENV"] = "thesis"
    failed = checkout.run("up")
    assert failed.returncode == 1
    assert "exists and is no virtual environment" in failed.stderr
    assert (checkout.root / "thesis" / "chapter.txt").read_text() == "words"


def test_an_unknown_command_lists_those_there_are(checkout: Checkout) -> None:
    failed = checkout.run("sing")
    assert failed.returncode == 2
    assert failed.stderr.startswith("'sing' is not a command of this script. There are: up, test,")


def test_extras_that_are_there_serve_a_command_that_needs_fewer(tmp_path: Path) -> None:
    for name, text in (("pyproject.toml", "[project]\nname='x'\n"), ("constraints.txt", "")):
        (tmp_path / name).write_text(text)
    environment = Environment(tmp_path, tmp_path / ".venv")
    environment.folder.mkdir()
    (environment.folder / "pyvenv.cfg").write_text("version = 3.11.7\n")
    environment._write_stamp(["dev", "engine", "transformers"])
    assert environment.installed() == {"dev", "engine", "transformers"}

    (environment.folder / "pyvenv.cfg").write_text("version = 3.12.1\n")
    assert environment.installed() == set(), "another Python needs another install"
    environment.stamp.write_text("{half")
    assert environment.installed() == set()
