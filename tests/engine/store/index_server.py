"""A package index on loopback that can misbehave in every way that a network does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass
class IndexServer:
    """What it serves, how badly, and what it was asked.

    Attributes:
        cuts: For each wheel request in turn, after how many bytes the connection is cut.
        wrong: How many wheel requests are answered with other bytes of the same length.
        statuses: For each wheel request in turn, an error status instead of an answer.
        hold_after: The first wheel request stops after that many bytes until `release` is set.
    """

    file: str
    content: bytes
    project: str = "tiny-model"
    url: str = ""
    as_json: bool = False
    ranges: bool = True
    listed: bool = True
    digest: str | None = None
    require_auth: str | None = None
    cuts: list[int] = field(default_factory=list)
    wrong: int = 0
    statuses: list[int] = field(default_factory=list)
    shift_range: int = 0
    extra: bytes = b""
    hold_after: int | None = None
    release: threading.Event = field(default_factory=threading.Event)
    wheel_requests: list[str | None] = field(default_factory=list)
    page_requests: int = 0

    @property
    def index(self) -> str:
        return f"{self.url}/simple"


@contextmanager
def serve(server: IndexServer) -> Iterator[IndexServer]:
    """Run the server until the block ends."""
    handler = type("Handler", (_Handler,), {"server_state": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: ClassVar[IndexServer]

    def do_GET(self) -> None:
        state = self.server_state
        if state.require_auth and self.headers["Authorization"] != state.require_auth:
            self.send_error(401)
        elif self.path == f"/simple/{state.project}/":
            state.page_requests += 1
            self._page(state)
        elif self.path == f"/files/{state.file}":
            state.wheel_requests.append(self.headers["Range"])
            self._wheel(state)
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""

    def handle(self) -> None:
        # A client that is killed closes its end: some tests are about that.
        with suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def _page(self, state: IndexServer) -> None:
        file = state.file if state.listed else f"other-{state.file}"
        address = f"../../files/{file}"
        if state.as_json:
            hashes = {"sha256": state.digest} if state.digest else {}
            body = json.dumps({"files": [{"filename": file, "url": address, "hashes": hashes}]})
            kind = "application/vnd.pypi.simple.v1+json"
        else:
            fragment = f"#sha256={state.digest}" if state.digest else ""
            body = f'<html><a href="{address}{fragment}">{file}</a></html>'
            kind = "text/html; charset=utf-8"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def _wheel(self, state: IndexServer) -> None:
        if state.statuses:
            self.send_error(state.statuses.pop(0))
            return
        content = state.content + state.extra
        if state.wrong:
            state.wrong -= 1
            content = bytes(255 - byte for byte in content)
        asked = self.headers["Range"]
        if asked and state.ranges:
            begin = int(asked.removeprefix("bytes=").rstrip("-")) + state.shift_range
            if begin >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
            content = content[begin:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if state.cuts:
            content = content[: state.cuts.pop(0)]
            self.close_connection = True
        if state.hold_after is not None and len(state.wheel_requests) == 1:
            self.wfile.write(content[: state.hold_after])
            self.wfile.flush()
            state.release.wait(60)
            content = content[state.hold_after :]
        self.wfile.write(content)
