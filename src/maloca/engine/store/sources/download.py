"""Downloading a file of known digest, in pieces if need be, over the deaths of this process."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from maloca.engine.store.catalogue import Wheel
from maloca.engine.store.progress import Progress
from maloca.engine.store.sources.web import FetchFailed, Web

if TYPE_CHECKING:
    import httpx

ATTEMPTS: Final = 5
BACKOFF_SECONDS = 0.5
_PARTIAL: Final = 206
_OK: Final = 200
_RANGE_NOT_SATISFIABLE: Final = 416
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_BLOCK: Final = 1024 * 1024


class WrongDigest(Exception):
    """The bytes are not the pinned ones."""

    def __init__(self, actual: str) -> None:
        super().__init__(f"its file has SHA-256 {actual}")
        self.actual = actual


def download(web: Web, url: str, wheel: Wheel, part: Path, progress: Progress) -> None:
    """Complete `part` from a URL, keeping the bytes that it already has.

    A finished file whose digest is wrong, such as a damaged part of an earlier try, is thrown
    away and fetched anew once.

    Raises:
        FetchFailed: The server does not give the file; what has come so far is kept.
        WrongDigest: It gives other bytes; nothing is kept.
    """
    for last in (False, True):
        _fill(web, url, wheel, part, progress)
        try:
            verify(part, wheel, progress)
        except WrongDigest:
            part.unlink()
            if last:
                raise
        else:
            return


def verify(path: Path, wheel: Wheel, progress: Progress) -> None:
    """See that a file is the pinned one.

    Raises:
        WrongDigest: It is not.
    """
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress("verifying", done, max(done, wheel.size))
    if digest.hexdigest() != wheel.sha256:
        raise WrongDigest(digest.hexdigest())


def _fill(web: Web, url: str, wheel: Wheel, part: Path, progress: Progress) -> None:
    """Fetch until the file has its full length; tries that bring bytes do not count as failed."""
    failed = 0
    while (before := _length(part)) != wheel.size:
        try:
            _transfer(web, url, wheel, part, progress)
        except FetchFailed as error:
            failed = 1 if _length(part) > before else failed + 1
            if not error.transient or failed == ATTEMPTS:
                raise
            time.sleep(BACKOFF_SECONDS * 2 ** (failed - 1))


def _transfer(web: Web, url: str, wheel: Wheel, part: Path, progress: Progress) -> None:
    """Make one request for what is missing and append what comes."""
    have = _length(part)
    if have > wheel.size:
        part.unlink()
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with web.get(url, headers) as response:
        if response.status_code == _RANGE_NOT_SATISFIABLE and have:
            part.unlink()
            raise FetchFailed("HTTP 416", transient=True)
        if response.status_code not in {_OK, _PARTIAL}:
            status = response.status_code
            raise FetchFailed(f"HTTP {status}", transient=status in _TRANSIENT)
        # A server that knows no ranges sends the whole file again.
        resumes = response.status_code == _PARTIAL and _begins_at(response, have)
        if response.status_code == _PARTIAL and not resumes:
            part.unlink(missing_ok=True)
            raise FetchFailed("it answered with another range than was asked", transient=True)
        with part.open("ab" if resumes else "wb") as file:
            _append(response, file, have if resumes else 0, wheel, progress)
    if (length := _length(part)) < wheel.size:
        raise FetchFailed(f"it sent {length:,} bytes of {wheel.size:,}", transient=True)


def _append(
    response: httpx.Response, file: IO[bytes], done: int, wheel: Wheel, progress: Progress
) -> None:
    """Write the body, and stop at the first byte too many."""
    progress("downloading", done, wheel.size)
    for block in response.iter_raw():
        done += len(block)
        if done > wheel.size:
            file.truncate(0)
            raise FetchFailed(f"it sends more than the expected {wheel.size:,} bytes")
        file.write(block)
        progress("downloading", done, wheel.size)


def _begins_at(response: httpx.Response, position: int) -> bool:
    """Whether a partial answer begins where it was asked to."""
    found = re.match(r"bytes (\d{1,18})-", response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == position


def _length(part: Path) -> int:
    """Return the bytes that are there; a link planted in the file's place is removed."""
    if part.is_symlink():
        part.unlink()
    return part.stat().st_size if part.exists() else 0
