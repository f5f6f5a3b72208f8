"""The conversation in a terminal: a real pseudo-terminal against the real engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

pytestmark = pytest.mark.process

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
# Ctrl-C is a signal only to whoever's controlling terminal it is typed on.
_IN_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from maloca.cli.main import app
app(prog_name="maloca")
"""
CTRL_C = "\x03"
CTRL_D = "\x04"


class Live(Protocol):
    url: str


class Terminal:
    """`maloca chat` as it looks to whoever types."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self._seen = ""
        self._fd, other = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_A_TERMINAL, "chat", *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb", **variables},
        )
        os.close(other)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def until(self, pattern: str) -> str:
        """Return what is shown up to the first match, and forget it."""
        if not self.shows(pattern, seconds=30):
            pytest.fail(f"{pattern!r} did not appear in {self._seen!r}")
        end = next(re.finditer(pattern, self._seen)).end()
        shown, self._seen = self._seen[:end], self._seen[end:]
        return shown

    def shows(self, pattern: str, seconds: float) -> bool:
        """Wait for a match; tell whether it came."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self._seen):
            if time.monotonic() > deadline:
                return False
            readable, _, _ = select.select([self._fd], [], [], 0.1)
            if readable:
                self._seen += self._read()
        return True

    def exit_code(self) -> int:
        """Wait for the end; what it still says is read, so that it can end."""
        while chunk := self._read():
            self._seen += chunk
        return self._process.wait(30)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(30)
        os.close(self._fd)

    def _read(self) -> str:
        try:
            data = os.read(self._fd, 4096)
        except OSError:  # Linux says so when the other end is closed.
            return ""
        return _COLOURS.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")


@pytest.fixture
def terminal(live_engine: Live) -> Iterator[Terminal]:
    with contextlib.closing(Terminal(MALOCA_ENGINE_URL=live_engine.url)) as opened:
        opened.until(r"Talking with default\. /help shows the commands, Ctrl-D leaves\.\n+> ")
        yield opened


def script(reply: str, **more: Any) -> str:
    return "#fake " + json.dumps({"reply": reply, **more}) + "\n"


def test_question_and_answer(terminal: Terminal) -> None:
    terminal.type(script("hello there"))
    terminal.until(r"\nhello there\n12 tokens · \d+ tokens/s · first after \d+ ms\n> ")
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0


def test_the_conversation_is_remembered_until_it_is_cleared(live_engine: Live) -> None:
    # The fake model's words follow from the whole conversation when the temperature is 0.
    opened = Terminal("--temperature", "0", MALOCA_ENGINE_URL=live_engine.url)
    with contextlib.closing(opened) as terminal:
        terminal.until(r"Talking with default.*\n+> ")
        remember_and_forget(terminal)


def remember_and_forget(terminal: Terminal) -> None:
    first = ask(terminal, "Hola")
    second = ask(terminal, "Hola")
    assert first != second
    terminal.type("/clear\n")
    terminal.until(r"The conversation is forgotten\.\n> ")
    assert ask(terminal, "Hola") == first


def ask(terminal: Terminal, question: str) -> str:
    terminal.type(f"{question}\n")
    shown = terminal.until(r"\d+ tokens · .* ms\n> ")
    return shown.partition(question)[2].strip().splitlines()[0]


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal: Terminal) -> None:
    terminal.type(script("a" * 1000, delay_ms=50))
    terminal.until(r"\naaa")
    terminal.type(CTRL_C)
    shown = terminal.until(r"\(stopped\)\n> ")
    assert shown.count("a") < 900
    terminal.type(script("still here"))
    terminal.until(r"\nstill here\n")
    terminal.type("/exit\n")
    assert terminal.exit_code() == 0


def test_ctrl_c_at_the_prompt_begins_a_new_line(terminal: Terminal) -> None:
    terminal.type("never mind")
    terminal.until("never mind")
    for _ in range(10):
        # Python's readline loop overlooks a signal that comes just between two keys.
        terminal.type(CTRL_C)
        if terminal.shows(r"\n+> ", seconds=2):
            break
    terminal.until(r"\n+> ")
    terminal.type(script("yes"))
    terminal.until(r"\nyes\n4 tokens")


def test_several_lines_in_one_question(terminal: Terminal) -> None:
    terminal.type('"""first\n')
    terminal.until(r"\n\. ")
    terminal.type('#fake {"reply": "both"}"""\n')
    terminal.until(r"\nboth\n5 tokens")


def test_commands(terminal: Terminal) -> None:
    terminal.type("/help\n")
    terminal.until(r"/clear   forget the conversation\n/exit    leave \(or Ctrl-D\)\n")
    terminal.type("/dance now\n")
    terminal.until(r"There is no command /dance\. /help shows those there are\.\n> ")
    terminal.type("\n")
    terminal.until(r"\n> ")
    terminal.type("/exit\n")
    assert terminal.exit_code() == 0


def test_an_answer_that_fails_is_forgotten(terminal: Terminal) -> None:
    terminal.type(script("abcdef", after=2, then="error"))
    terminal.until(r"\nab\nError: .*\n(.*\n)?> ")
    terminal.type("x" * 4000 + "\n")
    terminal.until(r"> ")
    terminal.type(script("fine"))
    terminal.until(r"\nfine\n5 tokens")


def test_what_a_model_says_cannot_drive_the_terminal(terminal: Terminal) -> None:
    terminal.type(script("\x1b]0;owned\x07ok"))
    terminal.until("\ufffd]0;owned\ufffdok")


def test_an_answer_that_was_cut_says_so(live_engine: Live) -> None:
    opened = Terminal("--max-tokens", "3", MALOCA_ENGINE_URL=live_engine.url, MALOCA_LANG="es")
    with contextlib.closing(opened) as terminal:
        terminal.until(r"Conversas con default.*\n+> ")
        terminal.type(script("abcdef"))
        terminal.until(r"\nabc\n3 tokens · .* \(cortada a los 3 tokens; --max-tokens permite más\)")


def test_a_dead_engine_does_not_end_the_conversation() -> None:
    url = "http://127.0.0.1:1"
    with contextlib.closing(Terminal(MALOCA_ENGINE_URL=url)) as terminal:
        terminal.until(r"Talking with default.*\n+> ")
        terminal.type("hi\n")
        terminal.until(rf"Error: The engine at {url} cannot be reached.*\n(.*\n)?> ")
