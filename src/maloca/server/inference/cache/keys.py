"""What makes two requests the same: everything that can change their answer, and who asks."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from maloca.core.completer import CompletionRequest

# Raised when the meaning of a stored answer changes, so that no old one is read as a new one.
_VERSION: Final = 1


def is_repeatable(request: CompletionRequest) -> bool:
    """Return whether the same request has the same answer: greedy, or with a seed of its own."""
    return request.sampling.temperature == 0 or request.sampling.seed is not None


def key_of(request: CompletionRequest, *, tenant: str, identity: str) -> str:
    """Return the digest under which a request's answer is kept.

    Args:
        request: What is asked.
        tenant: Who asks; answers are never shared between tenants.
        identity: Which model, in which version, would answer.
    """
    parts = (
        _VERSION,
        tenant,
        identity,
        request.model,
        request.provider,
        request.privacy,
        list(request.messages),
        msgspec.structs.asdict(request.sampling),
    )
    # An encoding of typed, nested values: no two different requests spell the same bytes.
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()
