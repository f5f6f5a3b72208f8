"""Where running services say who they are, so that every command finds them.

A service writes `run/<name>.json` under the home when it listens and removes it when it stops.
What a killed service leaves behind is recognised and ignored.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
import psutil

from maloca import __version__
from maloca.core.home import home

_ANSWER_SECONDS: Final = 1.0
# A process that began after its record was written is another one with a recycled id. Clocks
# of processes are rounded, hence the allowance.
_CLOCK_SECONDS: Final = 2.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A running service.

    Attributes:
        name: "engine", "server", "jobs", or "up" for the supervisor of all.
        url: Where it listens, such as `http://127.0.0.1:8001`; empty for one that does not.
        pid: Its process.
        started: Unix time.
        version: Maloca's version in that process.
    """

    name: str
    url: str
    pid: int
    started: float
    version: str


def folder() -> Path:
    """Return the folder of the records; it may not exist yet."""
    return home() / "run"


def write(name: str, url: str) -> Record:
    """Record that this process is the service `name`, in one step and for its owner only.

    Raises:
        OSError: The home cannot be written.
    """
    record = Record(name=name, url=url, pid=os.getpid(), started=time.time(), version=__version__)
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(name)
    draft = path.with_name(f".{name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(record))
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return record


def remove(record: Record) -> None:
    """Take the record away, unless another process has taken the name since."""
    if _read(record.name) == record:
        with contextlib.suppress(OSError):
            _path(record.name).unlink(missing_ok=True)


def find(name: str) -> Record | None:
    """Return the record of a service that lives and, if it should, listens; else None."""
    record = _read(name)
    if record is None or not _lives(record) or (record.url and not _answers(record.url)):
        return None
    return record


def url_of(host: str, port: int) -> str:
    """Return the URL under which this machine reaches a service bound to that host."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _path(name: str) -> Path:
    return folder() / f"{name}.json"


def _read(name: str) -> Record | None:
    try:
        return msgspec.json.decode(_path(name).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def _lives(record: Record) -> bool:
    try:
        process = psutil.Process(record.pid)
        return (
            process.create_time() <= record.started + _CLOCK_SECONDS
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError):
        return False


def _answers(url: str) -> bool:
    try:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 80)
        with socket.create_connection(address, timeout=_ANSWER_SECONDS):
            return True
    except (OSError, ValueError):
        return False
