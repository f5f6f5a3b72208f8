"""Writes GGUF files by the specification, sound ones and lying ones."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from maloca.engine.store.byte_level import byte_alphabet

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
F32_TENSOR, Q4_1_TENSOR = 0, 3


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    """Return a typed metadata value."""
    if isinstance(item, bool):
        return struct.pack("<IB", BOOL, item)
    if isinstance(item, int):
        return struct.pack("<II", U32, item)
    if isinstance(item, float):
        return struct.pack("<If", F32, item)
    if isinstance(item, str):
        return struct.pack("<I", STRING) + string(item)
    if all(isinstance(part, str) for part in item):
        body = b"".join(map(string, item))
        return struct.pack("<IIQ", ARRAY, STRING, len(item)) + body
    return struct.pack("<IIQ", ARRAY, I32, len(item)) + struct.pack(f"<{len(item)}i", *item)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return string(name) + dimensions + struct.pack("<IQ", kind, offset)


def gguf(
    metadata: Mapping[str, Any],
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
) -> bytes:
    """Return a file; `data` begins at the next multiple of 32."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, item in metadata.items():
        header += string(key) + value(item)
    header += b"".join(tensors)
    return header + b"\0" * (-len(header) % 32) + data


def chat_metadata(**changes: Any) -> dict[str, Any]:
    """Return the metadata of a tiny Llama: 256 bytes, one merge, ChatML; None removes a key."""
    alphabet = list(byte_alphabet())
    metadata: dict[str, Any] = {
        "general.architecture": "llama",
        "general.license": "mit",
        "general.file_type": 3,
        "llama.context_length": 512,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": [*alphabet, "th", "<|im_start|>", "<|im_end|>", "<mask>"],
        "tokenizer.ggml.token_type": [1] * 257 + [3, 3, 4],
        "tokenizer.ggml.merges": ["t h"],
        "tokenizer.ggml.bos_token_id": 257,
        "tokenizer.ggml.eos_token_id": 258,
        "tokenizer.chat_template": "{{ messages[0].content }}",
    }
    for key, item in changes.items():
        metadata[key.replace("__", ".")] = item
    return {key: item for key, item in metadata.items() if item is not None}


def chat_model(*, padding: int = 0, **changes: Any) -> bytes:
    """Return a whole tiny chat model; `padding` adds that many float32 numbers."""
    tensors = [tensor("token_embd.weight", (32, 2), Q4_1_TENSOR, 0)]
    data = b"\x01" * 40
    if padding:
        tensors.append(tensor("padding", (padding,), F32_TENSOR, 64))
        data = data.ljust(64, b"\0") + bytes(range(256)) * (padding * 4 // 256)
        data = data.ljust(64 + padding * 4, b"\7")
    return gguf(chat_metadata(**changes), tensors, data)
