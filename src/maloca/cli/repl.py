"""The conversation in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from importlib import import_module
from typing import Final

from maloca.cli import console
from maloca.cli.answer import Answer
from maloca.cli.i18n import t
from maloca.client.engine import EngineClient
from maloca.core.completer import CompletionRequest
from maloca.core.errors import MalocaError
from maloca.core.ids import new_id
from maloca.core.messages import Message

_PROMPT: Final = "> "
_MORE: Final = ". "
_FENCE: Final = '"""'


def run(client: EngineClient, request: CompletionRequest) -> None:
    """Talk until the user leaves.

    Args:
        client: Is closed at the end.
        request: Its messages, such as a system prompt, begin every conversation.
    """
    with contextlib.suppress(ImportError):
        # Imported for its effect: `input` gets editing and history where the platform has it.
        import_module("readline")
    console.say(t("chat.welcome", model=request.model), style="dim")
    conversation = Conversation(client, request)
    with asyncio.Runner() as runner:
        try:
            while (text := _ask()) is not None:
                if text.startswith("/"):
                    if not conversation.command(text):
                        break
                elif text:
                    conversation.turn(runner, text)
        finally:
            runner.run(client.aclose())


class Conversation:
    """What was said so far, and how the next turn is taken."""

    def __init__(self, client: EngineClient, request: CompletionRequest) -> None:
        self._client = client
        self._request = request
        self._messages = list(request.messages)

    def command(self, text: str) -> bool:
        """Carry out a line that begins with a slash; False means to leave."""
        match text.split(maxsplit=1)[0]:
            case "/exit" | "/quit" | "/bye":
                return False
            case "/clear":
                self._messages = list(self._request.messages)
                console.say(t("chat.cleared"), style="dim")
            case "/help" | "/?":
                console.say(t("chat.help"))
            case other:
                console.say(t("chat.unknown", command=other), style="yellow")
        return True

    def turn(self, runner: asyncio.Runner, text: str) -> None:
        """Stream one answer; Ctrl-C stops it and keeps what was said.

        A question that failed is forgotten, so that the next one starts from what went well.
        """
        messages = [*self._messages, Message("user", text)]
        answer = Answer()
        request = replace(self._request, messages=messages, id=new_id())
        try:
            runner.run(answer.stream(self._client, request, console.write_text))
        except KeyboardInterrupt:
            console.write("")
            console.say(t("chat.stopped"), style="dim")
        except MalocaError as failure:
            if answer.parts:
                console.write("")
            console.fail(failure)
            return
        else:
            console.write("")
            self._footer(answer)
        if answer.parts:
            self._messages = [*messages, Message("assistant", answer.text)]

    def _footer(self, answer: Answer) -> None:
        if answer.done is None or answer.usage is None:
            return
        timings = answer.done.timings
        said = t(
            "chat.timings",
            tokens=answer.usage.completion_tokens,
            speed=f"{timings.tokens_per_second:.0f}",
            ttft=f"{timings.ttft_ms:.0f}",
        )
        if answer.done.finish_reason == "length":
            said += " " + t("chat.cut", tokens=answer.usage.completion_tokens)
        console.say(said, style="dim")


def _ask() -> str | None:
    """Return what the user types, stripped; empty after Ctrl-C, None after Ctrl-D."""
    try:
        text = input(_PROMPT).strip()
        if not text.startswith(_FENCE):
            return text
        lines = [text.removeprefix(_FENCE)]
        while not lines[-1].rstrip().endswith(_FENCE):
            lines.append(input(_MORE))
        lines[-1] = lines[-1].rstrip().removesuffix(_FENCE)
        return "\n".join(lines).strip()
    except KeyboardInterrupt:
        console.write("")
        return ""
    except EOFError:
        console.write("")
        return None
