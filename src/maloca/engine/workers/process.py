"""The program of a model worker: load one model, then poll, add or cancel, step, flush."""

from __future__ import annotations

import ctypes
import signal
import sys
import time

from maloca.engine.runtimes.base import BaseRuntime, ChatRuntime, EmbeddingRuntime, ModelLoadError
from maloca.engine.runtimes.registry import load
from maloca.engine.workers.channel import Channel
from maloca.engine.workers.frames import (
    Add,
    Cancel,
    Embed,
    Embedded,
    Load,
    LoadFailed,
    Ready,
    Step,
    TokenOutput,
    ToWorker,
)


def main() -> int:
    """Serve until the engine closes the pipe; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's to handle.
    _die_with_parent()
    channel = Channel.take_over_stdio()
    try:
        runtime = _load(channel)
        if runtime is None:
            return 1
        while True:
            _serve(channel, runtime)
    except (EOFError, BrokenPipeError):
        return 0


def _load(channel: Channel) -> BaseRuntime | None:
    first = channel.receive(wait=True)
    if not isinstance(first, Load):
        raise TypeError(f"the first frame must be Load, got {first!r}")
    began = time.monotonic()
    try:
        runtime = load(first.spec)
    except ModelLoadError as error:
        channel.send(LoadFailed(str(error)))
        return None
    channel.send(Ready(runtime.capacity, time.monotonic() - began))
    return runtime


def _serve(channel: Channel, runtime: BaseRuntime) -> None:
    """Take what arrived, then advance by one step."""
    busy = isinstance(runtime, ChatRuntime) and runtime.busy
    frame = channel.receive(wait=not busy)
    while frame is not None:
        _handle(channel, runtime, frame)
        frame = channel.receive(wait=False)
    if isinstance(runtime, ChatRuntime) and runtime.busy:
        # A step that raises has lost every running request: the process ends, is replaced,
        # and each request gets its one error from the engine.
        channel.send(Step(runtime.step()))


def _handle(channel: Channel, runtime: BaseRuntime, frame: ToWorker) -> None:
    match frame:
        case Add(id=request_id, prompt=prompt, params=params) if isinstance(runtime, ChatRuntime):
            try:
                runtime.add(request_id, prompt, params)
            except ValueError as error:
                refusal = TokenOutput(request_id, [], finish="error", error=str(error))
                channel.send(Step([refusal]))
        case Cancel(id=request_id) if isinstance(runtime, ChatRuntime):
            runtime.cancel(request_id)
        case Embed(id=request_id, batch=batch) if isinstance(runtime, EmbeddingRuntime):
            try:
                channel.send(Embedded(request_id, runtime.embed(batch)))
            except ValueError as error:
                channel.send(Embedded(request_id, b"", error=str(error)))
        case _:
            raise TypeError(f"{type(runtime).__name__} cannot take {type(frame).__name__}")


def _die_with_parent() -> None:
    """Ask Linux to end this process with the engine, even while a native call hangs."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
