"""Chat templates: Jinja programs that came with a model, run in a sandbox."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any, NoReturn

import jinja2
import jinja2.sandbox

from maloca.core.errors import InvalidRequest, ModelFailed
from maloca.core.messages import Message
from maloca.text.tokenizer import Marks, Tokenizer

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class TemplateRefused(Exception):
    """The template itself said, through `raise_exception`, that it cannot take these messages."""


class ChatTemplate:
    """Turns a conversation into the prompt that a model was trained on."""

    def __init__(self, source: str, tokenizer: Tokenizer, *, bos: str = "", eos: str = "") -> None:
        """Compile a template.

        Raises:
            ModelFailed: The template is not valid Jinja.
        """
        self._tokenizer = tokenizer
        self._variables = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(source)
        except Exception as error:  # The compiler lets errors of Python's own through.
            raise ModelFailed(f"The model's chat template is not valid: {error}") from error

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt's token ids, ending where the assistant's answer begins.

        Raises:
            InvalidRequest: The template refuses this order of roles, or cannot be rendered.
        """
        marks = self._tokenizer.marks()
        return self._tokenizer.encode_prompt(self._render(messages, marks), marks)

    def _render(self, messages: Sequence[Message], marks: Marks) -> str:
        turns = [{"role": m.role, "content": marks.cover(m.content)} for m in messages]
        try:
            return self._template.render(
                messages=turns, add_generation_prompt=True, **self._variables
            )
        except TemplateRefused as refusal:
            raise InvalidRequest(
                f"The model's chat template refuses these messages: {refusal}",
                param="messages",
                hint="Check the order of the roles.",
            ) from refusal
        except Exception as error:  # A template is a program: it can fail in any way.
            raise InvalidRequest(
                f"The model's chat template cannot render these messages: {error}",
                param="messages",
            ) from error


@functools.cache
def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """Return the environment that templates are written for (Hugging Face's conventions)."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _strftime_now
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
    return environment


def _refuse(message: Any) -> NoReturn:
    raise TemplateRefused(str(message))


def _strftime_now(form: str) -> str:
    return dt.datetime.now().astimezone().strftime(form)
