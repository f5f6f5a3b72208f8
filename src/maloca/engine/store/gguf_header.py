"""Reading the header of a GGUF file without trusting a byte of it.

The native loaders behind the runtimes read the same header with less care, so a file must pass
here first: every count, length and offset is checked against the file's own size before it is
used, and the time taken is bounded by that size and the limits below.

Source: the GGUF specification, versions 2 and 3 (ggml-org/ggml, docs/gguf.md).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from maloca.core.errors import ModelFailed
from maloca.engine.store.gguf_types import TENSOR_TYPES, TensorType

MAX_HEADER: Final = 128 * 1024 * 1024
MAX_STRING: Final = 16 * 1024 * 1024
MAX_KEY: Final = 65_535
MAX_PAIRS: Final = 65_536
MAX_TENSORS: Final = 262_144
MAX_ITEMS: Final = 8_000_000
MAX_NESTING: Final = 4
MAX_DIMENSIONS: Final = 4
MAX_ALIGNMENT: Final = 1024 * 1024

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_BYTE_ORDER_SWAPPED: Final = 0x10000
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_SMALLEST: Final = {_STRING: 8, _ARRAY: 12} | {kind: s.size for kind, s in _SCALARS.items()}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies: `offset` counts from the start of the tensor data."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int

    @property
    def elements(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.elements // self.type.block * self.type.size


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A header that holds together: each of its tensors lies inside the file."""

    path: Path
    version: int
    metadata: dict[str, Any]
    tensors: tuple[TensorInfo, ...]
    data_offset: int

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string of the metadata, or raise ModelFailed."""
        return str(self._typed(key, str, default))

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number of the metadata, or raise ModelFailed."""
        return int(self._typed(key, int, default))

    def items(self, key: str, of: type, *, required: bool = True) -> list[Any]:
        """Return an array of the metadata whose items all have that type, or raise ModelFailed."""
        items: list[Any] = self._typed(key, list, None if required else [])
        if not all(type(item) is of for item in items):
            _refuse(self.path, f"{key} holds something other than {of.__name__}")
        return items

    def _typed(self, key: str, kind: type, default: Any) -> Any:
        value = self.metadata.get(key, default)
        if value is None:
            _refuse(self.path, f"it has no {key}")
        if type(value) is not kind:
            _refuse(self.path, f"{key} is not a {kind.__name__}")
        return value


def read_gguf_header(path: Path) -> GgufHeader:
    """Return a GGUF file's metadata and tensor table.

    Raises:
        ModelFailed: The file is no GGUF, is cut short, or its header contradicts itself.
    """
    try:
        with path.open("rb", buffering=1024 * 1024) as file:
            return _Reader(path, file).header()
    except OSError as error:
        raise ModelFailed(f"{path} cannot be read: {error.strerror or error}.") from error


class _Reader:
    """Walks through a header, never past the end of the file or of the limits."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._file_size = path.stat().st_size
        self._left = min(self._file_size, MAX_HEADER)
        self._items = 0

    def header(self) -> GgufHeader:
        """Read everything up to the tensor data."""
        if self._file.read(4) != _MAGIC:
            self._refuse("it does not begin with the letters GGUF")
        self._left -= 4
        version = self._integer("<I")
        if version not in _VERSIONS:
            swapped = version and not version % _BYTE_ORDER_SWAPPED
            self._refuse(
                "it is big-endian"
                if swapped
                else f"its GGUF version is {version}, and 2 and 3 are supported"
            )
        tensors = self._count(MAX_TENSORS, smallest=24, what="tensors")
        pairs = self._count(MAX_PAIRS, smallest=13, what="metadata entries")
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._string(MAX_KEY)
            if key in metadata:
                self._refuse(f"{key[:80]!r} stands in its metadata twice")
            metadata[key] = self._value(self._integer("<I"), depth=0)
        infos = tuple(self._tensor() for _ in range(tensors))
        alignment = metadata.get("general.alignment", 32)
        if (
            type(alignment) is not int
            or not 0 < alignment <= MAX_ALIGNMENT
            or alignment & (alignment - 1)
        ):
            self._refuse(f"its alignment {alignment!r} is not a power of two")
        data_offset = -(-self._file.tell() // alignment) * alignment
        self._check_layout(infos, data_offset, alignment)
        return GgufHeader(self._path, version, metadata, infos, data_offset)

    def _value(self, kind: int, *, depth: int) -> Any:
        """Read one metadata value of that GGUF type."""
        if scalar := _SCALARS.get(kind):
            return scalar.unpack(self._take(scalar.size))[0]
        if kind == _STRING:
            return self._string(MAX_STRING)
        if kind != _ARRAY:
            self._refuse(f"its metadata holds a value of the unknown type {kind}")
        return self._array(depth + 1)

    def _array(self, depth: int) -> list[Any]:
        """Read an array; its declared length is checked before anything is made of it."""
        if depth > MAX_NESTING:
            self._refuse(f"its metadata nests arrays more than {MAX_NESTING} deep")
        kind = self._integer("<I")
        if kind not in _SMALLEST:
            self._refuse(f"its metadata holds an array of the unknown type {kind}")
        count = self._count(MAX_ITEMS, smallest=_SMALLEST[kind], what="items in an array")
        self._items += count
        if self._items > MAX_ITEMS:
            self._refuse(f"its metadata holds more than {MAX_ITEMS} items")
        if scalar := _SCALARS.get(kind):
            data = self._take(scalar.size * count)
            return list(struct.unpack(f"<{count}{scalar.format[-1]}", data))
        return [self._value(kind, depth=depth) for _ in range(count)]

    def _tensor(self) -> TensorInfo:
        """Read one row of the tensor table; a size that no file could hold is refused at once."""
        name = self._string(MAX_KEY)
        dimensions = self._integer("<I")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self._refuse(f"tensor {name[:80]!r} has {dimensions} dimensions")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        number = self._integer("<I")
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self._refuse(f"tensor {name[:80]!r} has the unknown type {number}")
        if shape[0] % kind.block:
            self._refuse(f"rows of tensor {name[:80]!r} are no whole blocks of {kind.name}")
        return TensorInfo(name, shape, kind, self._integer("<Q"))

    def _check_layout(self, tensors: tuple[TensorInfo, ...], start: int, alignment: int) -> None:
        """Refuse tensors that lie outside the file, or over each other."""
        room = self._file_size - start
        for tensor in tensors:
            if tensor.offset % alignment:
                self._refuse(f"tensor {tensor.name[:80]!r} is not aligned to {alignment} bytes")
            if tensor.offset + tensor.size > room:
                self._refuse(
                    f"tensor {tensor.name[:80]!r} ends at byte "
                    f"{start + tensor.offset + tensor.size:,} of {self._file_size:,}"
                )
        if len({tensor.name for tensor in tensors}) != len(tensors):
            self._refuse("two of its tensors have the same name")
        for before, after in pairwise(sorted(tensors, key=lambda tensor: tensor.offset)):
            if before.offset + before.size > after.offset:
                self._refuse(f"tensors {before.name[:80]!r} and {after.name[:80]!r} overlap")

    def _string(self, limit: int) -> str:
        length = self._integer("<Q")
        if length > limit:
            self._refuse(f"it holds a string of {length:,} bytes, and {limit:,} are allowed")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            self._refuse("it holds a string that is not UTF-8")

    def _count(self, limit: int, *, smallest: int, what: str) -> int:
        """Read a count, and refuse one whose items could not fit into what is left."""
        count = self._integer("<Q")
        if count > limit or count * smallest > self._left:
            self._refuse(f"it declares {count:,} {what}, more than it can hold")
        return count

    def _integer(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > self._left:
            self._refuse(
                f"its header is over {MAX_HEADER:,} bytes"
                if self._file_size > MAX_HEADER
                else f"it is cut short at {self._file_size:,} bytes"
            )
        self._left -= size
        data = self._file.read(size)
        if len(data) != size:  # The file shrank while it was read.
            self._refuse(f"it is cut short at byte {self._file.tell():,}")
        return data

    def _refuse(self, fault: str) -> NoReturn:
        _refuse(self._path, fault)


def _refuse(path: Path, fault: str) -> NoReturn:
    raise ModelFailed(
        f"{path} cannot be used as a GGUF model: {fault}.",
        hint="The file is damaged or not a model: fetch it again.",
    )
