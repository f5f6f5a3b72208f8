"""Calm output: one line per stage, everything else in a log that is shown when it matters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

TAIL_LINES = 25

# Windows has no SIGINT to send to one process.
_INTERRUPT = signal.SIGINT if os.name == "posix" else signal.SIGTERM


class StageFailed(Exception):
    """A stage ended badly; the message is for the person at the terminal."""


def say(text: str = "") -> None:
    """Write a line to standard error: standard output belongs to the program that follows."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_quietly(
    stage: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command with its output in `log`, showing one line with the time it takes.

    The log is appended to, so that a stage of several commands has one log.

    Raises:
        StageFailed: The command did not end with 0; says so with the log's last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as output:
        output.write(f"$ {' '.join(map(str, command))}\n".encode())
        output.flush()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own: pip and npm start processes that must end with them.
            process_group=0 if os.name == "posix" else None,
        )
        with _ended_with_us(process, lambda: _end_group(process)):
            status = _watch(stage, process, log, started)
    if status != 0:
        raise StageFailed(
            f"{stage}: failed (exit status {status}). The end of its output:\n\n"
            f"{tail(log)}\n\nAll of it: {log}"
        )
    _line(f"  {stage}: done in {time.monotonic() - started:.0f} s", end="\n")


def run_openly(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None
) -> int:
    """Run a command whose output is for the reader; return its exit status."""
    with _interrupts_left_to_the_child():
        process = subprocess.Popen([str(part) for part in command], cwd=cwd, env=env)
        # As Ctrl-C does, so that pytest stops what its fixtures started.
        with _ended_with_us(process, lambda: process.send_signal(_INTERRUPT)):
            return process.wait()


def become(command: Sequence[str | Path]) -> NoReturn:
    """Hand this process over to a command, so that signals reach it directly.

    Windows cannot replace a process: there the command is waited for, and Ctrl-C, which the
    console sends to both, is left to it.
    """
    words = [str(part) for part in command]
    if os.name == "posix":
        os.execv(words[0], words)  # noqa: S606 - handing over is the purpose.
    with _interrupts_left_to_the_child():
        sys.exit(subprocess.call(words))


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented."""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in text[-lines:])


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes], end: Callable[[], None]) -> Iterator[None]:
    """End the process when this one is interrupted or told to end."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if process.poll() is None:
            end()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _interrupts_left_to_the_child() -> Iterator[None]:
    """Do nothing at Ctrl-C, which the terminal sends to the child as well.

    A handler that does nothing, since a signal that is ignored would be ignored by the child too.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()


def _watch(stage: str, process: subprocess.Popen[bytes], log: Path, started: float) -> int:
    """Wait for a process, telling a terminal what it is at."""
    if not sys.stderr.isatty():
        say(f"  {stage} …")
        return process.wait()
    while True:
        try:
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            _line(f"  {stage} … {time.monotonic() - started:.0f} s  {_last_line(log)}")


def _line(text: str, end: str = "") -> None:
    """Write a line; on a terminal, over the one before."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[2K{text[:width]}{end}")
    else:
        sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _last_line(log: Path) -> str:
    """Return the last line of a growing log that says what is going on; warnings can wait."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2048))
        lines = file.read().decode(errors="replace").split("\n")
    said = (line.strip() for line in reversed(lines) if "warn" not in line.lower())
    return next((line for line in said if line and line.isprintable()), "")
