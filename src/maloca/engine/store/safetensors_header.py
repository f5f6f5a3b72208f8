"""Reading the header of a safetensors file without trusting a byte of it.

Source: the format's description in huggingface/safetensors (README, "Format"): an 8-byte
little-endian length, that many bytes of JSON, then the tensors with neither gap nor overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from maloca.core.errors import ModelFailed

MAX_HEADER: Final = 100_000_000
MAX_DIMENSIONS: Final = 16

ITEM_SIZES: Final = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SafeTensor:
    """A tensor of the file. `begin` and `end` count bytes from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)


def read_safetensors_header(path: Path) -> dict[str, SafeTensor]:
    """Return a safetensors file's tensors by name, in the order of their bytes.

    Raises:
        ModelFailed: The file is no safetensors, is cut short, or its header contradicts itself.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER, size - 8):
                _refuse(path, f"it declares a header of {length:,} bytes in a file of {size:,}")
            header = file.read(length)
    except OSError as error:
        raise ModelFailed(f"{path} cannot be read: {error.strerror or error}.") from error
    tensors = [_tensor(path, name, raw, 8 + length) for name, raw in _entries(path, header)]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    position = 8 + length
    for tensor in tensors:
        if tensor.begin != position:
            _refuse(path, f"tensor {tensor.name[:80]!r} leaves a gap or lies over another")
        position = tensor.end
    if position != size:
        _refuse(path, f"its tensors end at byte {position:,}, and the file at {size:,}")
    return {tensor.name: tensor for tensor in tensors}


def _entries(path: Path, header: bytes) -> list[tuple[str, msgspec.Raw]]:
    """Return the JSON object's members but for the free metadata."""
    if not header.startswith(b"{"):
        _refuse(path, "its header is not a JSON object")
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        _refuse(path, "its header is not valid JSON")
    return [(name, raw) for name, raw in entries.items() if name != "__metadata__"]


def _tensor(path: Path, name: str, raw: msgspec.Raw, data: int) -> SafeTensor:
    """Return one checked tensor; `data` is where tensors begin in the file."""
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"tensor {name[:80]!r} is badly described: {str(error)[:200]}")
    item = ITEM_SIZES.get(entry.dtype)
    if item is None:
        _refuse(path, f"tensor {name[:80]!r} has the unknown type {entry.dtype[:20]!r}")
    begin, end = entry.data_offsets
    if len(entry.shape) > MAX_DIMENSIONS or any(dimension < 0 for dimension in entry.shape):
        _refuse(path, f"tensor {name[:80]!r} has an impossible shape")
    if not 0 <= begin <= end or math.prod(entry.shape) * item != end - begin:
        _refuse(path, f"tensor {name[:80]!r} does not fill the bytes given to it")
    return SafeTensor(name, entry.dtype, tuple(entry.shape), data + begin, data + end)


def _refuse(path: Path, fault: str) -> NoReturn:
    raise ModelFailed(
        f"{path} cannot be used as a safetensors model: {fault}.",
        hint="The file is damaged or not a model: fetch it again.",
    )
