"""The byte alphabet of GPT-2: one printable character for each of the 256 bytes.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), §2.2, and the
encoder published with it.
"""

from __future__ import annotations

from functools import cache


@cache
def byte_alphabet() -> tuple[str, ...]:
    """Return 256 characters; the one at index b stands for byte b.

    Bytes that print stand for themselves; the others take the code points from 256 upwards,
    in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unprintable = iter(range(256, 512))
    return tuple(chr(byte if byte in printable else next(unprintable)) for byte in range(256))
