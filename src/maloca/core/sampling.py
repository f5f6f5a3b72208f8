"""How the next token is chosen, and when generation ends."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec

MAX_NEW_TOKENS: Final = 256
TEMPERATURE: Final = 0.35
TOP_P: Final = 0.9
MAX_STOP_STRINGS: Final = 16
MAX_SEED: Final = 2**63 - 1


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sampling parameters, already checked by the dialect that made them.

    Attributes:
        max_new_tokens: At least 1; None means up to the end of the context.
        temperature: 0 (greedy) to 2.
        top_p: Nucleus mass, in (0, 1].
        top_k: Candidates kept; 0 keeps all.
        frequency_penalty: -2 to 2.
        presence_penalty: -2 to 2.
        seed: Repeats an answer; None chooses a new one per request.
        stop: Strings that end the answer; they are not part of it.
        ignore_eos: Generate until `max_new_tokens` (for benchmarks).
    """

    max_new_tokens: int | None = MAX_NEW_TOKENS
    temperature: float = TEMPERATURE
    top_p: float = TOP_P
    top_k: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


def new_seed() -> int:
    """Return a seed for a request that set none, so that answers differ."""
    return secrets.randbits(31)
