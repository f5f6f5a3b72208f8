"""What the engine and a model worker say to each other: token ids, never text.

A frame is a little-endian 32-bit length and that many bytes of MessagePack. Requests have small
integer ids that are unique within one worker's life.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MAX_FRAME: Final = 64 * 1024 * 1024


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to load a model; paths are absolute.

    Attributes:
        name: The model's name in the store.
        kind: "chat" or "embedding".
        runtime: A name in `runtimes.registry`.
        folder: The model's folder in the store.
        weights: The weights file, or an IR's `.xml`.
        context_length: Tokens the model was made for.
        stop_token_ids: Tokens that end an answer.
        cache_dir: Where the runtime may keep what it derives from the weights.
        options: Settings of that runtime, from the engine's settings and the manifest.
    """

    name: str
    kind: str
    runtime: str
    folder: str
    weights: str
    context_length: int
    stop_token_ids: list[int]
    cache_dir: str
    options: dict[str, Any] = {}


class GenerationParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sampling as a runtime sees it: stop strings stay in the engine, the seed is chosen."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    top_k: int = 0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    ignore_eos: bool = False


# From the engine to the worker.


class Load(msgspec.Struct, frozen=True, tag="load"):
    """The first frame: load this model, warm it up, answer `Ready` or `LoadFailed`."""

    spec: ModelSpec


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Generate from these token ids."""

    id: int
    prompt: list[int]
    params: GenerationParams


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop that generation; an unknown id is ignored, since it may just have ended."""

    id: int


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """Embed these token sequences, special tokens included."""

    id: int
    batch: list[list[int]]


ToWorker = Load | Add | Cancel | Embed


# From the worker to the engine.


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What a loaded model can hold.

    Attributes:
        context_length: Tokens that one request may reach, prompt and answer together.
        block_size: Tokens per KV block; 0 where the runtime has no paged KV cache.
        blocks: KV blocks in all.
        max_running: Requests that may generate at the same time.
        dim: Length of an embedding; 0 for a chat model.
        device: Where the model runs.
        capabilities: What the runtime can do beyond plain sampling.
    """

    context_length: int
    block_size: int = 0
    blocks: int = 0
    max_running: int = 1
    dim: int = 0
    device: str = "CPU"
    capabilities: list[str] = []


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded and warm."""

    capacity: Capacity
    load_seconds: float


class LoadFailed(msgspec.Struct, frozen=True, tag="load_failed"):
    """The model cannot be loaded; the worker ends after this frame."""

    message: str


class TokenOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """New tokens of one request; `finish` is "stop", "length" or "error" on the last one."""

    id: int
    tokens: list[int]
    finish: str | None = None
    error: str | None = None


class Step(msgspec.Struct, frozen=True, tag="step"):
    """One pass of the loop; an empty one still proves that the worker is alive."""

    outputs: list[TokenOutput]


class Embedded(msgspec.Struct, frozen=True, tag="embedded"):
    """Row-major little-endian float32 vectors of unit length, shape (batch, dim)."""

    id: int
    vectors: bytes
    error: str | None = None


FromWorker = Ready | LoadFailed | Step | Embedded

to_worker_decoder = msgspec.msgpack.Decoder(ToWorker)
from_worker_decoder = msgspec.msgpack.Decoder(FromWorker)
_encoder = msgspec.msgpack.Encoder()


def pack(frame: ToWorker | FromWorker) -> bytes:
    """Return a frame with its length in front."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(4, "little") + body
