"""`make test` goes through its stages in order and stops at the first that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.repository.checkout import Checkout

from house import browser
from house.console import StageFailed
from house.environment import Environment

pytestmark = pytest.mark.process

STARTS = "#!/bin/sh\necho Chromium 150\n"
FAILS = "#!/bin/sh\necho cannot reach the archive\nexit 100\n"
STAGES = [
    "pip",
    "pip",
    "npm ci",
    "npm run build",
    "python scripts/lint.py",
    "npm test",
    "python -m pytest -m not slow",
]


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    checkout.pretend_environment()
    checkout.tool("chromium", STARTS)
    return checkout


def test_every_stage_runs_in_order_and_the_summary_is_last(ready: Checkout) -> None:
    answer = ready.run("test", "-x")
    assert answer.returncode == 0, answer.stderr
    assert [call.strip() for call in ready.calls] == [*STAGES[:-1], f"{STAGES[-1]} -x"]
    log = (ready.root / "build" / "logs" / "packages.log").read_text()
    asked = [line for line in log.splitlines() if line.startswith("asked for:")]
    assert asked[0].endswith("-c constraints.txt torch==2.13.0"), "torch comes alone and first"
    assert asked[1].endswith("--editable .[dev,engine,transformers]")
    assert answer.stdout.endswith(f"1 passed, chromium={ready.tools / 'chromium'}\n")


def test_a_failing_lint_keeps_the_tests_from_running(ready: Checkout) -> None:
    ready.write("lint-fails", "")
    answer = ready.run("test")
    assert answer.returncode == 1
    assert ready.calls[-1] == "python scripts/lint.py"
    assert answer.stderr.endswith("lint: failed, so the tests did not run.\n\ntest: stopped.\n")


def test_the_daily_loop_needs_neither_node_nor_torch_nor_a_browser(ready: Checkout) -> None:
    for name in ("node", "npm", "chromium"):
        (ready.tools / name).unlink()
    answer = ready.run("test-fast", "-k", "stream")
    assert answer.returncode == 0, answer.stderr
    left_out = "slow or torch or real or browser or package or process or postgres"
    assert ready.calls == ["pip", f"python -m pytest -m not ({left_out}) -k stream"]


def test_up_after_test_installs_nothing(ready: Checkout) -> None:
    ready.run("test")
    before = ready.calls
    answer = ready.run("up")
    assert (answer.stdout, answer.stderr) == ("maloca up\n", "")
    assert ready.calls == before


@pytest.fixture
def machine(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Return a checkout on a machine without a browser, for an ordinary user, outside of CI."""
    monkeypatch.setenv("PATH", str(checkout.tools))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    monkeypatch.setattr(browser, "_PLACES", ())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    checkout.tool("ldd", STARTS)
    python = checkout.root / ".venv" / "bin" / "python"
    checkout.write(".venv/bin/python", FAILS)
    python.chmod(0o755)
    return checkout


def environment(machine: Checkout) -> Environment:
    return Environment(machine.root, machine.root / ".venv")


def test_a_named_browser_is_taken_and_a_wrong_name_is_refused(
    machine: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.tool("mine", STARTS)
    monkeypatch.setenv(browser.VARIABLE, str(machine.tools / "mine"))
    assert browser.ensure(environment(machine)) == str(machine.tools / "mine")
    monkeypatch.setenv(browser.VARIABLE, "/nowhere/chromium")
    with pytest.raises(StageFailed, match="MALOCA_CHROMIUM=/nowhere/chromium does not start"):
        browser.ensure(environment(machine))


def test_an_empty_shell_of_a_package_is_passed_over(machine: Checkout) -> None:
    machine.tool("chromium-browser", FAILS)
    machine.tool("google-chrome", STARTS)
    assert browser.ensure(environment(machine)) == str(machine.tools / "google-chrome")


def test_root_gets_the_browser_of_the_distribution(
    machine: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = machine.tools / "chromium"
    machine.tool(
        "apt-get",
        f'#!/bin/sh\ncase "$1" in install) printf "{STARTS.encode("unicode_escape").decode()}"'
        f' > "{made}" && chmod +x "{made}" ;; esac\n',
    )
    (machine.tools / "chmod").symlink_to("/bin/chmod")
    assert browser.ensure(environment(machine)) is None, "an ordinary user may not"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert browser.ensure(environment(machine)) == str(made)


def test_playwrights_browser_comes_last(machine: Checkout) -> None:
    own = machine.tools / "playwrights-own"
    machine.tool("playwrights-own", STARTS)
    machine.write(".venv/bin/python", f'#!/bin/sh\ncase "$1" in -c) echo "{own}" ;; esac\n')
    assert browser.ensure(environment(machine)) == str(own)


def test_without_any_browser_its_tests_are_skipped_but_not_in_ci(
    machine: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert browser.ensure(environment(machine)) is None
    said = capsys.readouterr().err
    assert "    cannot reach the archive" in said
    assert said.splitlines()[-1].startswith("  browser: none, so its tests are skipped; install")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(StageFailed, match="none is here and none could be installed"):
        browser.ensure(environment(machine))


def test_logs_of_failed_attempts_stay(machine: Checkout) -> None:
    browser.ensure(environment(machine))
    log = Path(machine.root, "build", "logs", "browser.log").read_text()
    assert "playwright install chromium" in log


def test_ctrl_c_is_left_to_pytest_which_ends_in_its_own_way(ready: Checkout) -> None:
    pytest_stand_in = (
        '#!/bin/sh\ncase "$1" in -c) echo "$(cd "$(dirname "$0")/.." && pwd)" ;;\n'
        'pip) ;; *) case "$2" in pytest) trap "echo fixtures stopped; exit 2" INT TERM;'
        " echo running; while :; do sleep 0.1; done ;; esac ;; esac\n"
    )
    ready.write(".venv/bin/python", pytest_stand_in)
    # A shell's background jobs ignore Ctrl-C, and whoever they start does too unless told.
    heard = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", heard, *ready.command("test-fast")],
        env=ready.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "fixtures stopped\n"
        assert process.wait(timeout=20) == 2
