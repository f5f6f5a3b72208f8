"""Finding one exact wheel in the package indexes that pip is configured to use.

Only the pinned digest is trusted, never an index, so the order of indexes is a matter of speed:
what lies on this machine comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from maloca.engine.store.catalogue import Wheel
from maloca.engine.store.sources.pip_config import PipConfig
from maloca.engine.store.sources.simple_index import ACCEPT, Link, read_page
from maloca.engine.store.sources.web import FetchFailed, Web, redact, with_credentials

_MAX_PAGE: Final = 64 * 1024 * 1024
_OK: Final = 200


@dataclass(slots=True)
class Attempts:
    """Where a wheel was looked for, and why it was not had from there."""

    failures: list[str] = field(default_factory=list)

    def note(self, place: str, reason: object) -> None:
        """Remember a failure; credentials are left out of the place."""
        self.failures.append(f"{redact(place)} ({reason})")


def locate(
    project: str, wheel: Wheel, config: PipConfig, web: Web, attempts: Attempts
) -> Iterator[Path | str]:
    """Yield the places that offer the wheel, nearest first: a path, or a URL with credentials.

    It is lazy: an index is asked only when the places before it did not do. What fails is noted
    in `attempts`.
    """
    simple = re.sub(r"[-_.]+", "-", project).lower()
    places = [(place, place) for place in config.find_links]
    places += [(index, f"{index.rstrip('/')}/{simple}/") for index in config.indexes]
    for place, page in sorted(dict(places).items(), key=lambda item: _is_remote(item[0])):
        try:
            yield from _offers(wheel, place, page, web, attempts)
        except (FetchFailed, OSError, ValueError) as error:
            attempts.note(place, error)


def _offers(
    wheel: Wheel, place: str, page: str, web: Web, attempts: Attempts
) -> Iterator[Path | str]:
    """Yield what one index or one find-links entry offers."""
    if _is_remote(page):
        links = _fetch_page(page, web)
    else:
        folder = _local_path(page)
        if folder.is_dir() and (folder / wheel.file).is_file():
            yield folder / wheel.file
            return
        document = folder / "index.html" if folder.is_dir() else folder
        if not document.is_file():
            attempts.note(place, "it does not hold the wheel")
            return
        links = read_page(document.read_bytes(), "text/html", document.absolute().as_uri())
    offers = [link for link in links if link.file == wheel.file]
    if not offers:
        attempts.note(place, "it does not have that file")
    for link in offers:
        if link.sha256 not in {None, wheel.sha256}:
            attempts.note(place, f"its file has SHA-256 {link.sha256}")
        elif _is_remote(link.url):
            yield with_credentials(link.url, page)
        else:
            yield _local_path(link.url)


def _fetch_page(page: str, web: Web) -> list[Link]:
    """Return the links of a page on the web."""
    with web.get(page, {"Accept": ACCEPT}) as response:
        if response.status_code != _OK:
            raise FetchFailed(f"HTTP {response.status_code}")
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > _MAX_PAGE:
                raise FetchFailed(f"its page is over {_MAX_PAGE:,} bytes")
        final = str(response.url)
        return read_page(bytes(body), response.headers.get("Content-Type", ""), final)


def _is_remote(place: str) -> bool:
    return urlsplit(place).scheme in {"http", "https"}


def _local_path(place: str) -> Path:
    """Return the path that a `file:` URL or a plain path means."""
    parts = urlsplit(place)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(place).expanduser()
