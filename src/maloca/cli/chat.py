"""`maloca chat`: a conversation in the terminal, or one answer in a pipe."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import typer

from maloca.cli import console, repl
from maloca.cli.answer import Answer
from maloca.cli.find_engine import engine_client
from maloca.cli.options import AsJson
from maloca.core.completer import CompletionRequest, collect
from maloca.core.errors import InvalidRequest
from maloca.core.messages import Message
from maloca.core.sampling import MAX_NEW_TOKENS, MAX_SEED, TEMPERATURE, Sampling

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to ask; without it, stdin is read or a conversation begins."),
    ] = None,
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="A model or an alias.")] = "default",
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="Instructions that come first.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0, max=2, help="0 always takes the likeliest token.")
    ] = TEMPERATURE,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer, in tokens.")
    ] = MAX_NEW_TOKENS,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_SEED, help="Repeats an answer.", show_default="a new one"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Talk with a model, or answer what stdin asks.

    In a terminal this is a conversation. With a PROMPT, or in a pipe, it is one answer on
    stdout: `echo "Why is the sky blue?" | maloca chat`. With both, stdin follows the PROMPT.
    """
    sampling = Sampling(max_new_tokens=max_tokens, temperature=temperature, seed=seed)
    first = [Message("system", system)] if system else []
    request = CompletionRequest(model=model, messages=first, sampling=sampling)
    if prompt is None and sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
        repl.run(engine_client(), request)
        return
    question = _question(prompt)
    request = replace(request, messages=[*first, Message("user", question)])
    asyncio.run(_answer_json(request) if as_json else _answer(request))


def _question(prompt: str | None) -> str:
    """Return the prompt and what stdin holds.

    Raises:
        BadParameter: There is nothing to answer.
        InvalidRequest: Stdin is no text.
    """
    parts = [prompt or ""]
    if not sys.stdin.isatty():
        try:
            parts.append(sys.stdin.buffer.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise InvalidRequest(
                f"stdin is not UTF-8 text: byte {error.object[error.start]:#04x} "
                f"at position {error.start}.",
                hint="Convert it first, for example with iconv.",
            ) from error
    question = "\n\n".join(part.strip() for part in parts if part.strip())
    if not question:
        raise typer.BadParameter(
            "there is nothing to answer; write it after the command or pipe it in",
            param_hint="PROMPT",
        )
    return question


async def _answer(request: CompletionRequest) -> None:
    """Stream the answer to stdout as plain text, and nothing else."""
    answer = Answer()
    async with engine_client() as client:
        try:
            await answer.stream(client, request, console.write_text)
        finally:
            if answer.text and not answer.text.endswith("\n"):
                console.write("")


async def _answer_json(request: CompletionRequest) -> None:
    """Write the whole answer with its numbers as one JSON object."""
    async with engine_client() as client, aclosing(client.complete(request)) as events:
        completion = await collect(events)
    document: dict[str, Any] = {
        "answer": completion.text,
        "model": completion.started.model,
        "finish_reason": completion.finish_reason,
        "usage": msgspec.to_builtins(completion.usage),
        "timings": msgspec.to_builtins(completion.timings),
    }
    document["usage"].pop("event")
    document["usage"]["total_tokens"] = completion.usage.total_tokens
    console.write_json(document)
