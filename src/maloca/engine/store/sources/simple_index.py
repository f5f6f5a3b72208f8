"""Reading a page of a package index: JSON (PEP 691) or HTML (PEP 503)."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import msgspec

ACCEPT: Final = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.1"
)


@dataclass(frozen=True, slots=True)
class Link:
    """A file that an index offers; `sha256` is what the index claims, and only ever a hint."""

    file: str
    url: str
    sha256: str | None


class _File(msgspec.Struct):
    filename: str
    url: str
    hashes: dict[str, str] = {}


class _Project(msgspec.Struct):
    files: list[_File]


def read_page(body: bytes, content_type: str, url: str) -> list[Link]:
    """Return the files of a page that was fetched from `url`.

    Raises:
        ValueError: The page is said to be JSON, and is not of PEP 691's form.
    """
    if content_type.partition(";")[0].strip().endswith("json"):
        try:
            project = msgspec.json.decode(body, type=_Project)
        except RecursionError as error:
            raise ValueError("the page is nested too deeply") from error
        return [
            Link(file.filename, urljoin(url, file.url), file.hashes.get("sha256"))
            for file in project.files
        ]
    parser = _Anchors(url)
    parser.feed(body.decode(errors="replace"))
    return [_link(address) for address in parser.addresses]


def _link(address: str) -> Link:
    """Return what a page's anchor points to; its fragment may carry a digest."""
    parts = urlsplit(address)
    digests = parse_qs(parts.fragment).get("sha256", [])
    return Link(
        file=unquote(parts.path.rpartition("/")[2]),
        url=parts._replace(fragment="").geturl(),
        sha256=digests[0].lower() if digests else None,
    )


class _Anchors(HTMLParser):
    """Collects the absolute addresses of a page's anchors."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._base = url
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of `<a href>`, and of `<base href>` before it."""
        address = dict(attrs).get("href")
        if not address:
            return
        try:
            if tag == "base":
                self._base = urljoin(self._base, address)
            elif tag == "a":
                self.addresses.append(urljoin(self._base, address))
        except ValueError:  # An address that is no URL; pip skips it too.
            return
