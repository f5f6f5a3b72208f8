"""A proxy on one hop that passes everything on, or breaks it in one way."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

Kind = Literal[
    "pass",
    "refuse",
    "reset",
    "blackhole",
    "latency",
    "stall",
    "cut",
    "malformed",
    "drip",
    "status",
    "empty",
]
_EVENTS: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong.

    Attributes:
        kind: "refuse" the connection, "reset" it, "blackhole" whatever is said, "latency" of
            `seconds` before the answer, headers and then a "stall", "cut" the answer,
            "malformed" events, "drip" one byte each `seconds`, a "status", or an "empty" 200.
        at: "cut" after so many bytes.
        after: "cut" behind the event that holds these bytes, in place of `at`.
        head: Header lines of "status".
    """

    kind: Kind = "pass"
    seconds: float = 1.0
    at: int = 0
    after: bytes = b""
    status: int = 500
    head: str = ""


class FaultProxy:
    """Stands in front of `target`; `fault` may change between requests."""

    def __init__(self, target: str, fault: Fault) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self.fault = fault
        self.connections = 0
        self.requests = 0
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            if self.fault.kind == "reset":
                # Closing then sends RST instead of FIN.
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        request = head + await reader.readexactly(int(length[1]) if length else 0)
        self.requests += 1
        fault = self.fault
        match fault.kind:
            case "reset":
                return
            case "blackhole":
                await reader.read()
            case "stall":
                writer.write(_EVENTS)
                await reader.read()
            case "malformed":
                writer.write(_EVENTS + _chunk(b'data: {"not json\n\n') + _chunk(b""))
            case "empty":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            case "status":
                body = b'{"error": {"message": "Not now", "type": "t", "code": "made_up"}}'
                writer.write(
                    f"HTTP/1.1 {fault.status} X\r\ncontent-length: {len(body)}\r\n"
                    f"content-type: application/json\r\n{fault.head}\r\n".encode()
                    + body
                )
            case _:
                await self._forward(request, reader, writer)
        await writer.drain()

    async def _forward(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_target, to_target = await asyncio.open_connection(*self._target)
        to_target.write(request)
        back = asyncio.create_task(self._back(from_target, writer))
        forth = asyncio.create_task(_pump(reader, to_target))
        try:
            await asyncio.wait({back, forth}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.cancel()
            forth.cancel()
            await asyncio.gather(back, forth, return_exceptions=True)
            to_target.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault, sent = self.fault, b""
        if fault.kind == "latency":
            await asyncio.sleep(fault.seconds)
        while data := await reader.read(65536):
            if fault.kind == "cut":
                sent += data
                end = _end(sent, fault)
                writer.write(data if end is None else data[: end - len(sent) or None])
                if end is not None:
                    await writer.drain()
                    return
            elif fault.kind == "drip":
                for byte in data:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(fault.seconds)
            else:
                writer.write(data)
            await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def _end(sent: bytes, fault: Fault) -> int | None:
    """Return where a cut comes, once enough has been sent."""
    if not fault.after:
        return fault.at if len(sent) >= fault.at else None
    found = sent.find(fault.after)
    # The chunk that holds the event ends with an empty line and its own line end.
    end = sent.find(b"\n\n\r\n", found) if found >= 0 else -1
    return end + 4 if end >= 0 else None


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@asynccontextmanager
async def fault_proxy(target: str, fault: Fault | None = None) -> AsyncIterator[FaultProxy]:
    """Serve a proxy on a free port; one that refuses holds its port without listening."""
    proxy = FaultProxy(target, fault or Fault())
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    proxy.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    if proxy.fault.kind == "refuse":
        with sock:
            yield proxy
        return
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, sock=sock)
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Transports that were closed take one more turn of the loop to let go.
        await asyncio.sleep(0)
