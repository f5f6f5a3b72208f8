"""`maloca chat` in a pipe and with a prompt, against the real engine with its fake model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
from typer.testing import CliRunner, Result

from maloca.cli.main import app

pytestmark = pytest.mark.process


class Live(Protocol):
    url: str


@pytest.fixture(autouse=True)
def engine(live_engine: Live, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MALOCA_ENGINE_URL", live_engine.url)
    return live_engine.url


def chat(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, ["chat", *arguments], input=stdin, prog_name="maloca")


def script(reply: str, **more: Any) -> str:
    return "#fake " + json.dumps({"reply": reply, **more}, ensure_ascii=False)


@pytest.mark.parametrize("reply", ["El río guarda el fuego. ɨʔ 🔥", "two\nlines\n", "\x1b[31mred"])
def test_a_pipe_gets_the_answer_and_nothing_else(reply: str) -> None:
    result = chat(stdin=script(reply))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == reply.rstrip("\n") + "\n"


def test_a_prompt_as_an_argument() -> None:
    result = chat(script("hello"))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello\n", "")


def test_stdin_follows_the_prompt() -> None:
    result = chat("Say this:", stdin=script("from stdin"))
    assert (result.exit_code, result.stdout) == (0, "from stdin\n")
    alone = int(json.loads(chat("--json", stdin=script("x")).stdout)["usage"]["prompt_tokens"])
    both = json.loads(chat("--json", "Say this:", stdin=script("x")).stdout)
    assert both["usage"]["prompt_tokens"] == alone + len("Say this:\n\n")


def test_json_is_one_object() -> None:
    result = chat("--json", "--model", "fake", stdin=script("abc"))
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    timings = found.pop("timings")
    prompt_tokens = found["usage"]["prompt_tokens"]
    assert found == {
        "answer": "abc",
        "model": "fake",
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": 4,
            "total_tokens": prompt_tokens + 4,
        },
    }
    assert timings.keys() == {"queue_ms", "ttft_ms", "total_ms", "tokens_per_second"}


def test_options_reach_the_model() -> None:
    plain = chat("--seed", "7", "Hola").stdout
    assert plain == chat("--seed", "7", "Hola").stdout
    assert plain != chat("--seed", "8", "Hola").stdout
    assert chat("--seed", "7", "--system", "Be brief.", "Hola").stdout != plain
    cold = {chat("--temperature", "0", "--seed", str(seed), "Hola").stdout for seed in (1, 2)}
    assert len(cold) == 1
    assert chat("--max-tokens", "3", script("abcdef")).stdout == "abc\n"


@pytest.mark.parametrize("stdin", ["", "  \n\t\n"])
def test_nothing_to_answer_is_bad_usage(stdin: str) -> None:
    result = chat(stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for PROMPT: there is nothing to answer" in result.stderr


def test_stdin_that_is_no_text() -> None:
    result = chat(stdin=b"ab\xff\xfe")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: stdin is not UTF-8 text: byte 0xff at position 2.\n"
        "Convert it first, for example with iconv.\n"
    )


@pytest.mark.parametrize("as_json", [True, False])
def test_an_unknown_model(as_json: bool) -> None:
    result = chat("--model", "ghost", "hi", *(["--json"] if as_json else []))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Model 'ghost' is not in the store")


def test_a_text_that_does_not_fit() -> None:
    result = chat(stdin="x" * 5000)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "4096" in result.stderr


def test_a_failure_in_the_middle_keeps_what_was_said() -> None:
    result = chat(script("abcdef", after=3, then="error"))
    assert (result.exit_code, result.stdout) == (1, "abc\n")
    assert result.stderr.startswith("Error: ")


def test_a_failure_gives_no_json() -> None:
    result = chat("--json", script("abcdef", after=3, then="error"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")


def test_no_engine_on_this_machine(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("MALOCA_ENGINE_URL")
    result = chat("hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: No engine runs on this machine.\n"
        "Start it with `maloca up`, or set MALOCA_ENGINE_URL to one elsewhere.\n"
    )
    assert not home.exists()


def test_the_engine_of_the_environment_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("MALOCA_ENGINE_URL", url)
        result = chat("hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: The engine at {url} cannot be reached")


def test_ctrl_c_ends_an_answer_in_a_pipe() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "maloca.cli.main", "chat", script("a" * 500, delay_ms=50)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ.copy(),
    )
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
    assert set(first + rest) == set(b"a\n")
    assert len(rest) < 400
