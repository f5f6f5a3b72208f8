"""Passwords: which are accepted, and how they are kept.

argon2id (RFC 9106) with 19 MiB and two passes is OWASP's floor; a faster machine makes more passes.
Hashing takes a core for its whole time, so it runs beside the event loop, few at once, and behind
a queue with an end.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from maloca.core.errors import InvalidRequest, Overloaded
from maloca.server.accounts.common_passwords import is_common

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 1024
AT_ONCE: Final = 2
WAITING: Final = 32
_TARGET_SECONDS: Final = 0.1
_MOST_PASSES: Final = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash takes: passes over so much memory, in KiB."""

    passes: int
    memory: int

    def hasher(self) -> PasswordHasher:
        """Return argon2id at this cost."""
        return PasswordHasher(time_cost=self.passes, memory_cost=self.memory, parallelism=1)


FLOOR: Final = Cost(passes=2, memory=19 * 1024)


def measure() -> Cost:
    """Return the floor, with as many more passes as this machine makes in 0.1 s."""
    hasher = FLOOR.hasher()
    seconds = min(_seconds(hasher) for _ in range(2))
    passes = math.floor(FLOOR.passes * _TARGET_SECONDS / seconds)
    return Cost(min(max(passes, FLOOR.passes), _MOST_PASSES), FLOOR.memory)


def check_new(password: str, *, username: str) -> None:
    """Check that a password may be chosen.

    Raises:
        InvalidRequest: It is too short or too long, or among the first that anybody would try.
    """
    why = None
    if len(password) < MIN_LENGTH:
        why = f"it has less than {MIN_LENGTH} characters"
    elif len(password) > MAX_LENGTH:
        why = f"it has more than {MAX_LENGTH} characters"
    elif is_common(password, username):
        why = "it is one of the first that anybody would try"
    if why:
        raise InvalidRequest(
            f"The password cannot be used: {why}.",
            code="weak_password",
            param="password",
            hint="Several unrelated words make a good one.",
        )


class Passwords:
    """Hashes and verifies passwords at one cost."""

    def __init__(self, cost: Cost) -> None:
        self.cost: Final = cost
        self._hasher = cost.hasher()
        # Verified for a name that has no account, so that both take the same time.
        self._nobody = self._hasher.hash(secrets.token_hex(16))
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        return await self._run(lambda: self._hasher.hash(_bytes(password)))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return whether a password is the stored one; None takes as long and is always wrong."""
        right = await self._run(lambda: self._verify(password, stored or self._nobody))
        return right and stored is not None

    def is_weaker(self, stored: str) -> bool:
        """Return whether a stored hash was made at a lower cost, and should be made again."""
        made = extract_parameters(stored)
        return made.time_cost < self.cost.passes or made.memory_cost < self.cost.memory

    def _verify(self, password: str, stored: str) -> bool:
        if len(password) > MAX_LENGTH:
            # Nobody has such a password; it gets the work of any other wrong one, and no more.
            stored, password = self._nobody, password[:MAX_LENGTH]
        try:
            return self._hasher.verify(stored, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise Overloaded("Too many passwords are being checked.", retry_after=1)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def _bytes(password: str) -> bytes:
    # However a keyboard composes a letter, it is the same letter (NIST SP 800-63B, 3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _seconds(hasher: PasswordHasher) -> float:
    began = time.perf_counter()
    hasher.hash(b"a password of the usual length")
    return max(time.perf_counter() - began, 1e-6)
