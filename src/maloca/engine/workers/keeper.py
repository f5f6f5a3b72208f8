"""Keeps one model's worker alive: load, watch, replace with backoff."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import Final, Protocol

import structlog

from maloca.core.errors import ErrorInfo, MalocaError, ModelFailed, WorkerCrashed
from maloca.engine.workers.connection import WorkerConnection
from maloca.engine.workers.frames import (
    Capacity,
    FromWorker,
    Load,
    LoadFailed,
    ModelSpec,
    Ready,
    ToWorker,
)

FIRST_BACKOFF: Final = 0.25
LAST_BACKOFF: Final = 30.0
HEALTHY_AFTER: Final = 60.0
LOAD_ATTEMPTS: Final = 3

log = structlog.get_logger(__name__)


class WorkerState(StrEnum):
    """Where a model's worker stands."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


class Tenant(Protocol):
    """Whoever uses the worker. All calls come from the event loop."""

    @property
    def waiting_for_worker(self) -> bool:
        """Whether an answer is due from the worker; if it stays silent it is replaced."""
        ...

    def on_ready(self, capacity: Capacity) -> None:
        """The model is loaded; send work."""
        ...

    def on_frame(self, frame: FromWorker) -> None:
        """The worker said something."""
        ...

    def on_lost(self, error: MalocaError, *, for_good: bool) -> None:
        """The worker is gone with all its running work; `for_good` if it will not come back."""
        ...


class WorkerKeeper:
    """One model's worker across its lives."""

    def __init__(
        self, spec: ModelSpec, tenant: Tenant, *, load_timeout: float, step_timeout: float
    ) -> None:
        self.spec = spec
        self.state = WorkerState.LOADING
        self.capacity: Capacity | None = None
        self.failure: ErrorInfo | None = None
        self.restarts = 0
        self._tenant = tenant
        self._load_timeout = load_timeout
        self._step_timeout = step_timeout
        self._connection: WorkerConnection | None = None
        self._last_sign = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load in the background; again after a failure, load anew."""
        if self._task is None or self._task.done():
            self.state, self.failure = WorkerState.LOADING, None
            self._task = asyncio.create_task(self._live(), name=f"worker {self.spec.name}")

    @property
    def pid(self) -> int | None:
        """The worker's process id while it lives."""
        return self._connection.pid if self._connection else None

    def send(self, frame: ToWorker) -> None:
        """Send a frame to a ready worker."""
        if self._connection is not None:
            self._connection.send(frame)

    async def stop(self) -> None:
        """End the worker; running work is lost."""
        self.state = WorkerState.STOPPED
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _live(self) -> None:
        """Run one life after the other until stopped or failed for good."""
        backoff = FIRST_BACKOFF
        failed_loads = 0
        while True:
            began = time.monotonic()
            loaded, status = await self._spawn_and_serve()
            failed_loads = 0 if loaded else failed_loads + 1
            for_good = self.failure is not None or failed_loads >= LOAD_ATTEMPTS
            self._report_loss(status, loaded=loaded, for_good=for_good)
            if for_good:
                return
            if time.monotonic() - began > HEALTHY_AFTER:
                backoff = FIRST_BACKOFF
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF)

    async def _spawn_and_serve(self) -> tuple[bool, int | str]:
        """Run one life; return whether the model was loaded, and how the process ended."""
        try:
            connection = self._connection = await WorkerConnection.spawn()
        except OSError as error:
            log.error("worker_not_started", model=self.spec.name, reason=str(error))  # noqa: TRY400 - the reason says it all
            return False, str(error)
        loaded = False
        try:
            loaded = await self._one_life(connection)
        finally:
            # Also on the way out of a cancelled task: no worker outlives its keeper. From here on
            # what arrives waits for the next life.
            self._connection = None
            if self.state is WorkerState.READY:
                self.state = WorkerState.LOADING
            ended = loaded or self.failure is not None
            status = await asyncio.shield(connection.close() if ended else connection.kill())
        return loaded, status

    async def _one_life(self, connection: WorkerConnection) -> bool:
        """Load, then pass frames on until the worker is gone; return whether it loaded."""
        connection.send(Load(self.spec))
        frames = connection.frames()
        try:
            async with asyncio.timeout(self._load_timeout):
                first = await anext(frames, None)
        except TimeoutError:
            self.failure = ModelFailed(
                f"The model {self.spec.name!r} was not loaded within {self._load_timeout:g} s.",
                hint="Allow more with MALOCA_ENGINE_LOAD_TIMEOUT, or use a smaller model.",
            ).info
            # A load that hangs does not listen to the end of its pipe.
            await connection.kill()
            return False
        match first:
            case Ready(capacity=capacity, load_seconds=seconds):
                self.capacity, self.state = capacity, WorkerState.READY
                self._last_sign = time.monotonic()
                log.info(
                    "model_ready", model=self.spec.name, seconds=round(seconds, 2), pid=self.pid
                )
            case LoadFailed(message=message):
                self.failure = ModelFailed(
                    f"The model {self.spec.name!r} cannot be loaded: {message}",
                    hint=f"Fetch it again: maloca models rm {self.spec.name} --force, "
                    f"then maloca models pull {self.spec.name}.",
                ).info
                return False
            case _:
                return False
        watchdog = asyncio.create_task(self._watch(connection))
        try:
            self._tenant.on_ready(capacity)
            async for frame in frames:
                self._last_sign = time.monotonic()
                self._tenant.on_frame(frame)
        finally:
            watchdog.cancel()
        return True

    async def _watch(self, connection: WorkerConnection) -> None:
        """Kill a worker that owes an answer and gives no sign of life."""
        while True:
            await asyncio.sleep(min(1.0, self._step_timeout / 4))
            if not self._tenant.waiting_for_worker:
                self._last_sign = time.monotonic()
            silence = time.monotonic() - self._last_sign
            if silence > self._step_timeout:
                log.error("worker_hung", model=self.spec.name, seconds=round(silence, 1))
                await connection.kill()
                return

    def _report_loss(self, status: int | str, *, loaded: bool, for_good: bool) -> None:
        self.state = WorkerState.FAILED if for_good else WorkerState.LOADING
        self.restarts += 1
        log.warning(
            "worker_lost", model=self.spec.name, status=status, loaded=loaded, for_good=for_good
        )
        if for_good and self.failure is None:
            self.failure = ModelFailed(
                f"The worker of {self.spec.name!r} ended {LOAD_ATTEMPTS} times while it loaded "
                f"(last: {status if isinstance(status, str) else f'exit status {status}'}).",
                hint="The engine's log says more; memory may be too small for this model.",
            ).info
        error: MalocaError
        if self.failure is not None:
            error = self.failure.to_exception()
        else:
            error = WorkerCrashed(
                f"The worker of {self.spec.name!r} ended while it served this request.",
                hint="It restarts by itself; send the request again.",
                retry_after=1.0,
            )
        self._tenant.on_lost(error, for_good=for_good)
