"""The worker's end of the inherited pipe."""

from __future__ import annotations

import os
import queue
import threading
from typing import BinaryIO

from maloca.engine.workers.frames import MAX_FRAME, FromWorker, ToWorker, pack, to_worker_decoder


class Channel:
    """Frames in from standard input, frames out to what was standard output.

    A thread reads, because a native step may keep the main thread for a while; between two steps
    the frames that arrived meanwhile are ready.
    """

    def __init__(self, source: BinaryIO, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._inbox: queue.SimpleQueue[ToWorker | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="frames", daemon=True).start()

    @classmethod
    def take_over_stdio(cls) -> Channel:
        """Keep the pipes for frames and send whatever libraries print to standard error."""
        source = os.fdopen(os.dup(0), "rb")
        sink = os.dup(1)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        os.dup2(2, 1)
        return cls(source, sink)

    def receive(self, *, wait: bool) -> ToWorker | None:
        """Return the next frame; None when there is none and `wait` is False.

        Raises:
            EOFError: The engine is gone.
        """
        try:
            frame = self._inbox.get(block=wait)
        except queue.Empty:
            return None
        if frame is None:
            raise EOFError
        return frame

    def send(self, frame: FromWorker) -> None:
        """Write a frame, whole."""
        data = memoryview(pack(frame))
        while data:
            data = data[os.write(self._sink, data) :]

    def _read(self) -> None:
        try:
            while header := self._source.read(4):
                size = int.from_bytes(header, "little")
                if size > MAX_FRAME:
                    break
                self._inbox.put(to_worker_decoder.decode(self._source.read(size)))
        finally:
            self._inbox.put(None)
