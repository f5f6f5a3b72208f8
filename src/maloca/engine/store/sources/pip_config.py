"""Which package indexes pip is configured to use; a site sets them once, and Maloca follows."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_DEFAULT_IN_HELP: Final = re.compile(r"--index-url <url>.*?\(default\s+(\S+)\)", re.DOTALL)
_KEYS: Final = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "cert",
    "client-cert",
    "proxy",
    "trusted-host",
)
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PipConfig:
    """The part of pip's configuration that says where packages are.

    Attributes:
        indexes: Roots of simple indexes, the main one first; empty with `no-index`.
        find_links: Folders and pages that hold packages.
        cert: A file of certificate authorities that replaces the system's.
        client_cert: A file with the client's certificate and key.
        proxy: The proxy's URL, where it is not the environment's.
        trusted_hosts: `host` or `host:port` whose certificates are not checked.
    """

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()


def read_pip_config() -> PipConfig:
    """Return pip's configuration, from its files and from `PIP_*` variables.

    Without pip in this environment only the variables count, and an index has to be among them.
    """
    answer = _ask_pip("config", "list")
    options = _from_environment(os.environ) if answer is None else parse_config_list(answer)
    if "index-url" not in options and (default := _default_index()):
        options["index-url"] = default
    return _interpret(options)


def _ask_pip(*command: str) -> str | None:
    """Return what a pip command prints, or None where pip is not there."""
    try:
        return subprocess.run(
            [sys.executable, "-m", "pip", *command],
            capture_output=True,
            check=True,
            encoding="utf-8",
            timeout=60,
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def _default_index() -> str | None:
    """Return the index that pip uses when it is told nothing, as its own help names it."""
    found = _DEFAULT_IN_HELP.search(_ask_pip("download", "--help") or "")
    return found[1] if found else None


def parse_config_list(answer: str) -> dict[str, str]:
    """Return option → value from lines such as `global.index-url='https://…'`.

    The command's own section beats the global one, and variables beat both, as in pip.
    """
    by_section: dict[str, dict[str, str]] = {}
    for line in answer.splitlines():
        name, equals, quoted = line.partition("=")
        section, dot, key = name.rpartition(".")
        if not equals or not dot:
            continue
        try:
            value = ast.literal_eval(quoted)
        except (ValueError, SyntaxError):
            continue
        by_section.setdefault(section, {})[key] = str(value)
    merged: dict[str, str] = {}
    for section in ("global", "install", "download", ":env:"):
        merged |= by_section.get(section, {})
    return merged


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return option → value from `PIP_INDEX_URL` and its like."""
    named = {key: environment.get(f"PIP_{key.replace('-', '_').upper()}") for key in _KEYS}
    return {key: value for key, value in named.items() if value}


def _interpret(options: Mapping[str, str]) -> PipConfig:
    """Return the options in their types."""
    indexes = (*_many(options, "index-url"), *_many(options, "extra-index-url"))
    authorities = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # pip's HTTP library reads these too.
    return PipConfig(
        indexes=() if options.get("no-index", "").lower() in _TRUE else indexes,
        find_links=_many(options, "find-links"),
        cert=options.get("cert") or next(filter(None, map(os.environ.get, authorities)), None),
        client_cert=options.get("client-cert"),
        proxy=options.get("proxy"),
        trusted_hosts=_many(options, "trusted-host"),
    )


def _many(options: Mapping[str, str], key: str) -> tuple[str, ...]:
    """Return the values of an option that takes several, set apart by white space."""
    return tuple(options.get(key, "").split())
