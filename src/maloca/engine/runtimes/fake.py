"""A runtime without a model: deterministic, quick, and able to fail on demand.

It drives the real pipe, scheduler and dialects in tests and demonstrations. What it says follows
from the prompt and the seed. A line `#fake {…}` in the last message scripts one request:

    reply      text to answer with
    silent_ms  time that the worker is busy with the prompt, without a sign of life
    first_ms   delay before the first token
    delay_ms   delay before every other token
    after      tokens to produce before `then`
    then       "error" (this request fails), "crash" (the process dies), "hang" (no more steps)

A model's options may hold the same keys as defaults, `load` ("fail", "crash" or "hang"),
`load_ms`, `blocks` (KV blocks of 16 tokens) and `max_running`. An embedding model's may hold
`load`, `load_ms`, and `on`: the length in tokens of a text at which `then` happens.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from maloca.engine.runtimes.base import ChatRuntime, EmbeddingRuntime, ModelLoadError
from maloca.engine.workers.frames import Capacity, GenerationParams, ModelSpec, TokenOutput

BLOCK_SIZE: Final = 16
_DIRECTIVE: Final = re.compile(r"#fake (\{.*\})")
_WORDS: Final = (
    "la",
    "casa",
    "larga",
    "guarda",
    "el",
    "fuego",
    "río",
    "árbol",
    "sol",
    "ɨ",
    "ʔ",
    "🔥",
)


@dataclass(slots=True)
class _Run:
    """One generation: what it will say, and what happens to it on the way."""

    tokens: list[int]
    budget: int
    ignore_eos: bool
    ready_at: float
    delay: float
    after: int | None
    then: str
    said: int = 0

    def next(self, now: float, eos: int) -> tuple[list[int], str | None]:
        """Return the tokens of this step and how the generation ends with them, if it does."""
        if now < self.ready_at:
            return [], None
        if self.after is not None and self.said >= self.after:
            _misbehave(self.then)
            return [], "error"
        self.ready_at = now + self.delay
        done = self.said >= len(self.tokens) and not self.ignore_eos
        token = eos if done else self.tokens[self.said % len(self.tokens)]
        self.said += 1
        if done:
            return [token], "stop"
        return [token], "length" if self.said >= self.budget else None


class FakeChat(ChatRuntime):
    """Says words of its own, or what the request tells it to say."""

    def __init__(self, spec: ModelSpec) -> None:
        """Read the tokenizer and behave as the options say."""
        _load(spec)
        self._options: dict[str, Any] = spec.options
        self._tokenizer = Tokenizer.from_file(str(Path(spec.folder) / "tokenizer.json"))
        self._eos = spec.stop_token_ids[0]
        self._runs: dict[int, _Run] = {}
        blocks = int(self._options.get("blocks", 4096))
        self.capacity = Capacity(
            context_length=min(spec.context_length, blocks * BLOCK_SIZE),
            block_size=BLOCK_SIZE,
            blocks=blocks,
            max_running=int(self._options.get("max_running", 16)),
            device="fake",
            capabilities=["seed", "penalties"],
        )

    def add(self, request_id: int, prompt: Sequence[int], params: GenerationParams) -> None:
        """Plan the answer."""
        try:
            self._runs[request_id] = self._plan(prompt, params)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"this #fake script cannot be followed: {error}") from error

    def _plan(self, prompt: Sequence[int], params: GenerationParams) -> _Run:
        text = self._tokenizer.decode(list(prompt), skip_special_tokens=False)
        script = self._options | _script(text)
        reply = script.get("reply")
        if reply is None:
            seed = params.seed if params.temperature > 0 else 0
            dice = random.Random(f"{text}|{seed}|{params.top_p}")  # noqa: S311 - not for secrets
            reply = " ".join(dice.choices(_WORDS, k=dice.randint(8, 24)))
        time.sleep(script.get("silent_ms", 0) / 1000)
        return _Run(
            tokens=self._tokenizer.encode(reply, add_special_tokens=False).ids or [self._eos],
            budget=params.max_new_tokens,
            ignore_eos=params.ignore_eos,
            ready_at=time.monotonic() + script.get("first_ms", 0) / 1000,
            delay=script.get("delay_ms", 0) / 1000,
            after=None if script.get("after") is None else int(script["after"]),
            then=str(script.get("then", "error")),
        )

    def cancel(self, request_id: int) -> None:
        """Forget the answer."""
        self._runs.pop(request_id, None)

    def step(self) -> list[TokenOutput]:
        """Say one token of every answer whose time has come."""
        now = time.monotonic()
        earliest = min(run.ready_at for run in self._runs.values())
        if earliest > now:
            time.sleep(min(earliest - now, 0.02))
            now = time.monotonic()
        outputs = []
        for request_id, run in list(self._runs.items()):
            tokens, finish = run.next(now, self._eos)
            if finish:
                del self._runs[request_id]
            if tokens or finish:
                error = "told to fail" if finish == "error" else None
                outputs.append(TokenOutput(request_id, tokens, finish, error))
        return outputs

    @property
    def busy(self) -> bool:
        """Whether anything is left to say."""
        return bool(self._runs)


class FakeEmbedding(EmbeddingRuntime):
    """Gives every token sequence a random direction of its own, always the same."""

    def __init__(self, spec: ModelSpec) -> None:
        """Behave as the options say."""
        _load(spec)
        self._options = spec.options
        self.capacity = Capacity(
            context_length=spec.context_length, dim=int(spec.options.get("dim", 8)), device="fake"
        )

    def embed(self, batch: Sequence[Sequence[int]]) -> bytes:
        """Return unit vectors."""
        if any(len(sequence) == self._options.get("on") for sequence in batch):
            _misbehave(self._options.get("then"))
            raise ValueError("told to fail")
        return b"".join(self._direction(sequence) for sequence in batch)

    def _direction(self, sequence: Sequence[int]) -> bytes:
        dice = random.Random(str(list(sequence)))  # noqa: S311 - not for secrets
        vector = [dice.gauss(0, 1) for _ in range(self.capacity.dim)]
        length = math.hypot(*vector)
        return struct.pack(f"<{len(vector)}f", *(x / length for x in vector))


def _script(prompt: str) -> dict[str, Any]:
    """Return the directive of the last message, if it has one."""
    found = _DIRECTIVE.findall(prompt.rpartition("<|im_start|>user")[2])
    try:
        script = json.loads(found[-1]) if found else {}
    except json.JSONDecodeError:
        return {}
    return script if isinstance(script, dict) else {}


def _load(spec: ModelSpec) -> None:
    """Take the time to load, or fail to, as the options say."""
    time.sleep(spec.options.get("load_ms", 0) / 1000)
    if (fault := spec.options.get("load")) == "fail":
        raise ModelLoadError(f"{spec.weights}: told to fail")
    _misbehave(fault)


def _misbehave(fault: str | None) -> None:
    """Do what a broken runtime would do."""
    if fault == "crash":
        os._exit(139)
    while fault == "hang":
        time.sleep(3600)
