"""A listening socket, or an error that says who has the port and what to do."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

import psutil

from maloca.asgi import records
from maloca.core.errors import MalocaError

_BACKLOG: Final = 2048
_LAST_PORT: Final = 65_535


class PortTaken(MalocaError):
    """Another process listens on that address."""

    code = "port_taken"


class CannotListen(MalocaError):
    """The address is not one of this machine's, or the system forbids it."""

    code = "cannot_listen"


def listen(
    host: str, port: int, *, option: str = "--port", avoid: Collection[int] = ()
) -> socket.socket:
    """Return a socket that listens on the address. Port 0 takes any free one.

    Args:
        host: A name or an address of this machine.
        port: 0 to 65535.
        option: The command-line option that chooses another port, named in the error.
        avoid: Ports that the error does not propose, though nobody listens there yet.

    Raises:
        PortTaken: Somebody listens there; the message names the process if it can be seen.
        CannotListen: The address cannot be used at all.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as failure:
        raise CannotListen(
            f"Cannot listen on {host}:{port}: {failure.strerror or failure}.",
            hint="Use a name or an address of this machine, such as 127.0.0.1.",
        ) from failure
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        _claim(listener)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except OSError as failure:
        listener.close()
        raise _explain(failure, host, port, option, avoid) from failure
    return listener


def holder(port: int) -> str | None:
    """Return who listens on a port as `name (pid 123)`, or None when that cannot be seen."""
    for name in ("engine", "server"):
        record = records.find(name)
        if record and urlsplit(record.url).port == port:
            return f"Maloca's {name} (pid {record.pid})"
    for process in psutil.process_iter(["pid", "name"]):
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        for connection in connections:
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and getattr(local, "port", None) == port:
                return f"{process.info['name']} (pid {process.info['pid']})"
    return None


def free_port_after(port: int, avoid: Collection[int] = ()) -> int:
    """Return a port near the taken one that nobody listens on at this moment."""
    for candidate in range(port + 1, min(port + 50, _LAST_PORT + 1)):
        if candidate in avoid:
            continue
        with socket.socket() as probe:
            _claim(probe)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    return port + 1


def _claim(listener: socket.socket) -> None:
    """Allow a restart at once after a stop, and never share the port with another process."""
    if sys.platform == "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _explain(
    failure: OSError, host: str, port: int, option: str, avoid: Collection[int]
) -> MalocaError:
    if failure.errno == errno.EADDRINUSE:
        who = holder(port)
        free = free_port_after(port, avoid)
        return PortTaken(
            f"{host}:{port} is taken by {who}." if who else f"{host}:{port} is taken.",
            hint=f"Stop that process, or choose another port: {option} {free}",
        )
    if failure.errno in (errno.EACCES, errno.EPERM):
        return CannotListen(
            f"The system does not allow this user to listen on {host}:{port}.",
            hint=f"Choose a port above 1023: {option} {free_port_after(8000, avoid)}",
        )
    return CannotListen(
        f"Cannot listen on {host}:{port}: {failure.strerror or failure}.",
        hint="Use a name or an address of this machine, such as 127.0.0.1.",
    )
