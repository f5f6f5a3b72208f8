"""Header readers on sound files, lying files and noise."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.store.gguf_writer import (
    ARRAY,
    F32_TENSOR,
    STRING,
    chat_metadata,
    chat_model,
    gguf,
    string,
    tensor,
    value,
)

from maloca.core.errors import ModelFailed
from maloca.engine.store.gguf_header import read_gguf_header
from maloca.engine.store.gguf_tokenizer import build_tokenizer
from maloca.engine.store.safetensors_header import read_safetensors_header

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
SMALL = chat_model()


def header(version: int = 3, tensors: int = 0, pairs: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + rest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.bin"


@pytest.mark.parametrize("version", [2, 3])
def test_a_sound_gguf_is_read(file: Path, version: int) -> None:
    numbers = struct.pack("<8f", *range(8))
    tensors = [tensor("a", (4,), F32_TENSOR, 0), tensor("b", (2, 2), F32_TENSOR, 32)]
    metadata = chat_metadata(some__float=1.5, some__flag=True)
    file.write_bytes(
        gguf(metadata, tensors, numbers[:16].ljust(32) + numbers[16:], version=version)
    )
    found = read_gguf_header(file)
    assert found.metadata == metadata
    assert [(t.name, t.shape, t.type.name, t.offset, t.size) for t in found.tensors] == [
        ("a", (4,), "F32", 0, 16),
        ("b", (2, 2), "F32", 32, 16),
    ]
    assert file.stat().st_size == found.data_offset + 48


PAIR = string("k")
TENSOR = tensor("t", (4,), F32_TENSOR, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin with the letters GGUF"),
        (b"GGML" + bytes(100), "does not begin with the letters GGUF"),
        (header(version=1), "version is 1"),
        (header(version=99), "version is 99"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF\3\0", "cut short"),
        (header(tensors=10**9), "1,000,000,000 tensors"),
        (header(pairs=10**9), "1,000,000,000 metadata entries"),
        (header(pairs=2**64 - 1), "metadata entries"),
        (header(pairs=1, rest=PAIR), "cut short|metadata entries"),
        (header(pairs=1, rest=struct.pack("<QI", 10**9, 8) + b"x"), "string of 1,000,000,000"),
        (header(pairs=1, rest=PAIR + struct.pack("<IQ", STRING, 10**9)), "string of 1,000,000,000"),
        (header(pairs=1, rest=PAIR + struct.pack("<II", 77, 0)), "unknown type 77"),
        (
            header(pairs=1, rest=PAIR + struct.pack("<IIQ", ARRAY, 4, 10**9)),
            "1,000,000,000 items in an array",
        ),
        (
            header(pairs=1, rest=PAIR + struct.pack("<IIQ", ARRAY, 77, 1)),
            "array of the unknown type 77",
        ),
        (
            header(pairs=1, rest=PAIR + struct.pack("<I", ARRAY) + struct.pack("<IQ", 9, 1) * 50),
            "nests arrays",
        ),
        (header(pairs=2, rest=(PAIR + value(1)) * 2), "stands in its metadata twice"),
        (header(pairs=1, rest=struct.pack("<Q", 2) + b"\xff\xfe" + value(1)), "not UTF-8"),
        (gguf({"general.alignment": 3}), "alignment 3"),
        (gguf({"general.alignment": 0}), "alignment 0"),
        (gguf({"general.alignment": "x"}), "alignment 'x'"),
        (gguf({}, [TENSOR], bytes(15)), "ends at byte"),
        (gguf({}, [tensor("t", (2**40, 2**40), F32_TENSOR, 0)], bytes(99)), "ends at byte"),
        (gguf({}, [tensor("t", (4,), F32_TENSOR, 2**60)], bytes(99)), "ends at byte"),
        (gguf({}, [tensor("t", (4,), F32_TENSOR, 8)], bytes(99)), "not aligned"),
        (gguf({}, [tensor("t", (4,), 4, 0)], bytes(99)), "unknown type 4"),
        (gguf({}, [tensor("t", (33,), 3, 0)], bytes(99)), "no whole blocks of Q4_1"),
        (gguf({}, [tensor("t", (1,) * 5, 0, 0)], bytes(99)), "5 dimensions"),
        (gguf({}, [tensor("t", (), 0, 0)], bytes(99)), "0 dimensions|more than it can hold"),
        (gguf({}, [TENSOR, tensor("t", (4,), 0, 32)], bytes(64)), "same name"),
        (gguf({}, [TENSOR, tensor("u", (4,), 0, 0)], bytes(64)), "overlap"),
    ],
    ids=lambda item: item[:30] if isinstance(item, str) else "",
)
def test_a_lying_gguf_is_refused_by_name(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ModelFailed, match=said) as caught:
        read_gguf_header(file)
    assert str(file) in caught.value.info.message


@pytest.mark.parametrize("read", [read_gguf_header, read_safetensors_header])
def test_a_file_that_is_not_there_is_named(file: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(ModelFailed, match=r"model\.bin cannot be read: No such file"):
        read(file)


def build(path: Path) -> object:
    return build_tokenizer(read_gguf_header(path))


@QUICK
@given(length=st.integers(0, len(SMALL) - 1))
def test_a_gguf_cut_anywhere_is_refused(file: Path, length: int) -> None:
    file.write_bytes(SMALL[:length])
    with pytest.raises(ModelFailed):
        read_gguf_header(file)


@QUICK
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=9)),
        min_size=1,
        max_size=4,
    )
)
def test_a_gguf_with_flipped_bytes_is_read_or_refused(
    file: Path, edits: list[tuple[int, bytes]]
) -> None:
    content = bytearray(SMALL)
    for position, patch in edits:
        content[position : position + len(patch)] = patch
    file.write_bytes(content)
    only_refuses(build, file)


@QUICK
@given(noise=st.binary(max_size=300), tensors=st.integers(0, 9), pairs=st.integers(0, 9))
def test_noise_is_read_or_refused_as_gguf(
    file: Path, noise: bytes, tensors: int, pairs: int
) -> None:
    file.write_bytes(header(tensors=tensors, pairs=pairs, rest=noise))
    only_refuses(build, file)
    file.write_bytes(noise)
    only_refuses(build, file)


def safetensors(document: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: int, end: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_sound_safetensors_is_read(file: Path) -> None:
    document = {
        "__metadata__": {"format": "pt"},
        "b": entry(8, 16, [2, 2], "F16"),
        "a": entry(0, 8, [2]),
        "none": entry(16, 16, [0, 5]),
    }
    file.write_bytes(safetensors(document, bytes(16)))
    start = file.stat().st_size - 16
    found = read_safetensors_header(file)
    assert [(t.name, t.shape, t.dtype, t.begin - start, t.end - start) for t in found.values()] == [
        ("a", (2,), "F32", 0, 8),
        ("b", (2, 2), "F16", 8, 16),
        ("none", (0, 5), "F32", 16, 16),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "header of 0 bytes|not a JSON object"),
        (b"\1", "declares a header of"),
        (safetensors({}, length=10**9), "declares a header of 1,000,000,000 bytes"),
        (safetensors({}, length=2**63), "declares a header of"),
        (safetensors(b"[1]"), "not a JSON object"),
        (safetensors(b"{"), "not valid JSON"),
        (safetensors(b'{"a":' * 10_000), "not valid JSON"),
        (safetensors({"a": 1}), "badly described"),
        (safetensors({"a": entry(0, 8, [2], "F99")}, bytes(8)), "unknown type 'F99'"),
        (safetensors({"a": entry(0, 8, [3])}, bytes(8)), "does not fill"),
        (safetensors({"a": entry(8, 0, [-2])}, bytes(8)), "impossible shape"),
        (safetensors({"a": entry(0, 8, [1] * 17)}, bytes(8)), "impossible shape"),
        (safetensors({"a": entry(0, 8, [2**62, 2**62])}, bytes(8)), "does not fill"),
        (safetensors({"a": entry(0, 8, [2.5])}, bytes(8)), "badly described"),
        (safetensors({"a": entry(4, 8, [1])}, bytes(8)), "leaves a gap"),
        (safetensors({"a": entry(0, 8, [2]), "b": entry(4, 8, [1])}, bytes(8)), "over another"),
        (safetensors({"a": entry(0, 8, [2])}, bytes(7)), "tensors end at byte"),
        (safetensors({"a": entry(0, 8, [2])}, bytes(9)), "tensors end at byte"),
    ],
    ids=lambda item: item[:30] if isinstance(item, str) else "",
)
def test_a_lying_safetensors_is_refused_by_name(file: Path, content: bytes, said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ModelFailed, match=said) as caught:
        read_safetensors_header(file)
    assert str(file) in caught.value.info.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)
TENSORS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I64", "BOOL", "?"]) | JSON,
        "shape": st.lists(st.integers(-3, 2**70), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-3, 2**70), max_size=3) | JSON,
    }
)


@QUICK
@given(document=st.dictionaries(st.text(max_size=5), TENSORS | JSON, max_size=4), data=st.binary())
def test_any_document_is_read_or_refused_as_safetensors(
    file: Path, document: dict[str, Any], data: bytes
) -> None:
    file.write_bytes(safetensors(document, data))
    only_refuses(read_safetensors_header, file)
    file.write_bytes(data)
    only_refuses(read_safetensors_header, file)


def only_refuses(read: Callable[[Path], object], file: Path) -> None:
    """Read the file; the one thing that may be raised is ModelFailed, and it names the file."""
    try:
        read(file)
    except ModelFailed as error:
        assert str(file) in error.info.message  # noqa: PT017 - success is fine as well
