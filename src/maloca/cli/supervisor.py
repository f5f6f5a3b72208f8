"""Starts services, keeps them running, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

from maloca.cli import readiness
from maloca.cli.child import Child, Service
from maloca.cli.readiness import Readiness
from maloca.core.errors import MalocaError

BAD_SETTING: Final = 2


class ServiceFailed(MalocaError):
    """A service cannot run, so nothing does.

    Attributes:
        service: Its name.
        lines: The last that it printed.
    """

    code = "service_failed"

    def __init__(self, message: str, *, hint: str, service: str, lines: Sequence[str]) -> None:
        super().__init__(message, hint=hint)
        self.service = service
        self.lines = tuple(lines)


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds.

    Attributes:
        ready: Within which every service must be ready after the start.
        grace: Between asking a service to stop and killing it.
        poll: Between two questions whether a service is ready.
        first_delay: Before a service that ended is started again; doubles each time.
        most_delay: The longest such delay.
        healthy: After which a run counts as healthy, and the delay is the first again.
    """

    ready: float = 600.0
    grace: float = 15.0
    poll: float = 0.2
    first_delay: float = 0.5
    most_delay: float = 30.0
    healthy: float = 60.0


class Reporter(Protocol):
    """Who is told what happens. Nothing that it raises reaches the supervisor but OSError."""

    def line(self, service: str, text: str) -> None:
        """Show a line that a service printed."""

    def waiting(self, service: str, state: Readiness) -> None:
        """Show what an unready service is doing."""

    def restarting(self, service: str, exit_code: int, delay: float) -> None:
        """Show that a service ended and starts again in `delay` seconds."""

    def back(self, service: str) -> None:
        """Show that a restarted service is ready."""

    def stopping(self) -> None:
        """Show that everything stops."""


class Supervisor:
    """Runs services until a signal, or until one of them cannot run.

    A service that ends before it was ever ready, or with exit code 2 (a bad setting) at any
    time, fails for good. Any other end is answered with a restart, after a delay that doubles.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        logs: Path,
        reporter: Reporter,
        limits: Limits | None = None,
    ) -> None:
        self._services = services
        self._logs = logs
        self._reporter = reporter
        self._limits = limits or Limits()
        self._children: dict[str, Child] = {}
        self._starting: set[asyncio.Task[Child]] = set()
        self._once_ready: set[str] = set()
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call `on_ready` once all are ready, and stay until told to stop.

        The first SIGINT, SIGTERM or SIGHUP stops the services in reverse order, each with its
        grace; a second one kills them.

        Raises:
            ServiceFailed: A service cannot run; everything has been stopped.
        """
        tasks: list[asyncio.Task[Any]] = []

        def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            tasks.append(asyncio.ensure_future(work))
            return tasks[-1]

        with self._signals():
            try:
                told = begin(self._stop.wait())
                for service in self._services:
                    begin(self._keep(service))
                ready = begin(self._all_ready())
                pending: set[asyncio.Task[Any]] = set(tasks)
                while told in pending:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                    if ready in done:
                        on_ready()
            finally:
                await self._end(tasks)

    def stop(self) -> None:
        """Stop everything; called again, kill what is left."""
        if self._stop.is_set():
            self._at_once.set()
        self._stop.set()

    async def _keep(self, service: Service) -> None:
        """Start the service whenever it is not running."""
        delay = self._limits.first_delay
        while True:
            child = await self._start(service)
            restarted = service.name in self._once_ready
            watch = asyncio.ensure_future(self._announce(child)) if restarted else None
            try:
                exit_code = await child.wait()
            finally:
                if watch is not None:
                    watch.cancel()
            if self._stop.is_set():
                return
            if service.name not in self._once_ready or exit_code == BAD_SETTING:
                raise _ended(child, exit_code, once_ready=restarted)
            if child.age >= self._limits.healthy:
                delay = self._limits.first_delay
            self._tell(self._reporter.restarting, service.name, exit_code, delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, self._limits.most_delay)

    async def _start(self, service: Service) -> Child:
        # A start that is cancelled half-way would leave behind what the process has started
        # by then, so it is always finished, and `_end` waits for it.
        starting = asyncio.ensure_future(self._launch(service))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def _launch(self, service: Service) -> Child:
        log = self._logs / f"{service.name}.log"
        try:
            child = await Child.start(service, log=log, echo=self._echo)
        except OSError as failure:
            raise ServiceFailed(
                f"{service.name} cannot be started: {failure}.",
                hint=f"See that {service.argv[0]} can be run and {log} be written.",
                service=service.name,
                lines=(),
            ) from failure
        self._children[service.name] = child
        return child

    async def _announce(self, child: Child) -> None:
        """Tell when a restarted child is ready."""
        async with readiness.client() as http:
            while True:
                await asyncio.sleep(self._limits.poll)
                if (await readiness.ask(http, child)).ready:
                    self._tell(self._reporter.back, child.service.name)
                    return

    async def _all_ready(self) -> None:
        """Return when every service has been ready.

        Raises:
            ServiceFailed: One says that it failed, or the time is over.
        """
        said: dict[str, Readiness] = {}
        deadline = asyncio.get_running_loop().time() + self._limits.ready
        async with readiness.client() as http:
            while waiting := [s for s in self._services if s.name not in self._once_ready]:
                for service in waiting:
                    state = await readiness.ask(http, self._children.get(service.name))
                    if state.ready:
                        self._once_ready.add(service.name)
                    elif state.failed or asyncio.get_running_loop().time() > deadline:
                        raise self._not_ready(service, state)
                    elif said.get(service.name) != state:
                        said[service.name] = state
                        self._tell(self._reporter.waiting, service.name, state)
                await asyncio.sleep(self._limits.poll)

    def _not_ready(self, service: Service, state: Readiness) -> ServiceFailed:
        child = self._children.get(service.name)
        reason = (state.message or state.status).rstrip(".") or "it does not answer"
        what = "failed" if state.failed else f"is not ready after {self._limits.ready:.0f} seconds"
        return ServiceFailed(
            f"{service.name} {what}: {reason}.",
            hint=f"Its log is {self._logs / f'{service.name}.log'}; `maloca doctor` may know more.",
            service=service.name,
            lines=child.last_lines if child else (),
        )

    async def _end(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Stop every child, whatever happens meanwhile."""
        self._stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._starting, return_exceptions=True)
        self._tell(self._reporter.stopping)
        # The last to start may depend on the first, and is therefore the first to stop.
        for service in reversed(self._services):
            if child := self._children.get(service.name):
                await child.stop(grace=self._limits.grace, at_once=self._at_once)

    def _echo(self, service: str, line: str) -> None:
        self._tell(self._reporter.line, service, line)

    def _tell(self, report: Callable[..., None], *values: Any) -> None:
        # A terminal that went away is no reason to leave the services alone.
        with contextlib.suppress(OSError):
            report(*values)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at the signals that ask for it, whatever the platform."""
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            del number, frame
            loop.call_soon_threadsafe(self.stop)

        wanted = [signal.SIGINT, signal.SIGTERM]
        if sys.platform == "win32":
            wanted.append(signal.SIGBREAK)
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            wanted.append(signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _ended(child: Child, exit_code: int, *, once_ready: bool) -> ServiceFailed:
    name = child.service.name
    if exit_code < 0:
        how = f"was killed by signal {-exit_code}"
    else:
        how = f"ended with exit code {exit_code}"
    return ServiceFailed(
        f"{name} {how} {'after a restart' if once_ready else 'before it was ready'}.",
        hint="Its last lines say why; `maloca doctor` may know more.",
        service=name,
        lines=child.last_lines,
    )
