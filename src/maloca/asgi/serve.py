"""Run one service: listen, record where, and stop without breaking an answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn

from maloca.asgi import logs, records
from maloca.asgi.listening import listen
from maloca.asgi.protocol import BoundedProtocol

GRACE_SECONDS: Final = 10
SETTLE_SECONDS: Final = 1.0
KEEP_ALIVE_SECONDS: Final = 75
_FORCED_SECONDS: Final = 2.0
_INTERRUPTED: Final = 130

log = structlog.get_logger()


def run(
    app: Any,
    *,
    name: str,
    host: str,
    port: int,
    grace_seconds: int = GRACE_SECONDS,
    lifeline: bool = False,
    log_level: str = "info",
) -> int:
    """Serve an ASGI app until it is told to stop.

    SIGTERM, SIGINT or the end of the lifeline sets `app.state.draining`, so that readiness
    fails first; while answers are in flight, new connections are still taken for a moment, so
    that a load balancer can notice. Then streams get `grace_seconds` to end by themselves. A
    second signal stops at once.

    Args:
        app: Has a `state` to set `draining` on, as Starlette's and FastAPI's have.
        name: The service's name in the records.
        host: Address to listen on.
        port: 0 takes a free one; the record tells which.
        grace_seconds: Time for answers in flight, in seconds.
        lifeline: Stdin is a pipe that a supervisor holds open. Its end means that the
            supervisor is gone, even by `kill -9`, and that this service must stop too.
        log_level: "debug", "info", "warning" or "error".

    Returns:
        The exit code: 0 after an orderly stop, 1 if the app could not start, 130 after Ctrl-C.

    Raises:
        PortTaken: Another process listens there.
        CannotListen: The address cannot be used.
    """
    logs.configure(log_level)
    listener = listen(host, port)
    url = records.url_of(host, listener.getsockname()[1])
    config = uvicorn.Config(
        app,
        loop="auto",
        http=BoundedProtocol,
        ws="auto",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )
    service = Service(config, name=name, url=url, draining=lambda: _set_draining(app))
    if lifeline:
        threading.Thread(target=_hold, args=(service,), daemon=True).start()
    try:
        service.run(sockets=[listener])
    except SystemExit:
        # uvicorn has logged why the app did not start, and exits from inside its loop.
        return 1
    finally:
        listener.close()
    return service.exit_code


class Service(uvicorn.Server):
    """uvicorn's server, which drains before it refuses connections.

    uvicorn closes its listening sockets as soon as it is told to stop. Here readiness fails
    first, connections are taken while answers are still in flight and `SETTLE_SECONDS` have not
    passed, and only then uvicorn's own shutdown runs. No signal is raised again afterwards: a
    stop that was asked for is not a failure.
    """

    def __init__(
        self, config: uvicorn.Config, *, name: str, url: str, draining: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.exit_code = 0
        self._name = name
        self._url = url
        self._set_draining = draining
        self._stopping_since: float | None = None
        self._reason = ""
        self._record: records.Record | None = None

    def stop(self, reason: str) -> None:
        """Begin an orderly stop. Safe from any thread and from a signal handler."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
            self._set_draining()
            self._reason = reason

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, stop at once at the second."""
        del frame
        if sig == signal.SIGINT:
            self.exit_code = _INTERRUPTED
        if self._stopping_since is None:
            self.stop(signal.Signals(sig).name)
            return
        self.should_exit = self.force_exit = True
        # Whatever still hangs, such as a lifespan that waits for a stuck worker, is left behind.
        leave = threading.Timer(_FORCED_SECONDS, os._exit, [self.exit_code or 1])
        leave.daemon = True
        leave.start()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle the signals that ask to stop, without raising them again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = [signal.SIGINT, signal.SIGTERM]
        if sys.platform == "win32":
            wanted.append(signal.SIGBREAK)
        before = {sig: signal.signal(sig, self.handle_exit) for sig in wanted}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, unless a stop is asked for before it has started."""
        starting = asyncio.ensure_future(super().startup(sockets))
        while not starting.done() and self._stopping_since is None:
            await asyncio.wait([starting], timeout=0.05)
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            self.should_exit = True
            return
        starting.result()
        self._record = records.write(self._name, self._url)
        log.info("listening", service=self._name, url=self._url)

    async def on_tick(self, counter: int) -> bool:
        """Tell whether it is time to close the sockets."""
        if await super().on_tick(counter):
            return True
        if self._stopping_since is None:
            return False
        idle = not self.server_state.tasks
        return idle or time.monotonic() - self._stopping_since >= SETTLE_SECONDS

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers in flight end, then the app."""
        if self._record is not None:
            records.remove(self._record)
        log.info("stopping", service=self._name, reason=self._reason)
        await super().shutdown(sockets)
        log.info("stopped", service=self._name)


def _set_draining(app: Any) -> None:
    app.state.draining = True


def _hold(service: Service) -> None:
    """Wait for the end of stdin, then stop the service.

    `os.read` rather than `sys.stdin`: a daemon thread that holds the buffered reader's lock
    would abort the interpreter at its end.
    """
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    # Whoever read our output is gone as well; a log line must not break the stop.
    void = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(void, descriptor)
    service.stop("the supervisor is gone")
