"""Decides which request enters a model worker, and when.

Admission counts KV blocks: a request enters when its prompt and its longest possible answer fit
beside everything that runs, so that nothing is ever preempted or cut short by another request.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

from maloca.core.errors import (
    ContextLengthExceeded,
    MalocaError,
    Overloaded,
    Unavailable,
)
from maloca.engine.workers.frames import (
    Add,
    Cancel,
    Capacity,
    FromWorker,
    GenerationParams,
    Step,
    TokenOutput,
)
from maloca.engine.workers.keeper import WorkerKeeper, WorkerState

_RETRY_LOAD_AFTER: Final = 5.0


@dataclass(slots=True, eq=False)
class Generation:
    """One request inside the scheduler; its outputs arrive in `outputs`.

    An open-ended one may go on to the end of the context, however long that turns out to be.
    """

    id: int
    prompt: list[int]
    params: GenerationParams
    open_ended: bool = False
    accepted: float = field(default_factory=time.monotonic)
    admitted: float | None = None
    outputs: asyncio.Queue[TokenOutput | MalocaError] = field(default_factory=asyncio.Queue)

    @property
    def longest(self) -> int:
        """Tokens that it may reach, prompt and answer together."""
        return len(self.prompt) + self.params.max_new_tokens

    def blocks(self, capacity: Capacity) -> int:
        """KV blocks that it may need."""
        return math.ceil(self.longest / capacity.block_size) if capacity.block_size else 0

    def fit(self, capacity: Capacity) -> None:
        """Shorten an open-ended answer to what the loaded model can hold."""
        room = capacity.context_length - len(self.prompt)
        if self.open_ended and 0 < room < self.params.max_new_tokens:
            self.params = msgspec.structs.replace(self.params, max_new_tokens=room)


class Scheduler:
    """A bounded queue in front of one chat model's worker."""

    def __init__(self, *, queue_limit: int, max_running: int) -> None:
        self._queue_limit = queue_limit
        self._max_running = max_running
        self._ids = itertools.count(1)
        self._waiting: deque[Generation] = deque()
        self._running: dict[int, Generation] = {}
        self._blocks_used = 0
        self._seconds_per_request = 1.0
        self._failed_at = 0.0
        self.keeper: WorkerKeeper

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests inside the worker."""
        return len(self._running)

    @property
    def blocks_used(self) -> int:
        """KV blocks that running requests have reserved."""
        return self._blocks_used

    def submit(
        self, prompt: list[int], params: GenerationParams, *, open_ended: bool = False
    ) -> Generation:
        """Accept a request.

        Raises:
            Overloaded: The queue is full.
            Unavailable: The model is being stopped.
            ContextLengthExceeded: It could never fit the KV cache.
            ModelFailed: The model cannot be loaded.
        """
        self._refuse_while_failed()
        if len(self._waiting) >= self._queue_limit:
            turns = len(self._waiting) / max(1, self._max_running)
            raise Overloaded(
                f"{len(self._waiting)} requests are waiting for this model already.",
                hint="Try again a little later, or raise MALOCA_ENGINE_QUEUE_LIMIT.",
                retry_after=max(1.0, math.ceil(turns * self._seconds_per_request)),
            )
        generation = Generation(next(self._ids), prompt, params, open_ended)
        if self.keeper.capacity is not None:
            _check_fits(generation, self.keeper.capacity)
        self._waiting.append(generation)
        self._admit()
        return generation

    def release(self, generation: Generation) -> None:
        """Forget a request, wherever it stands; what runs is stopped within a step."""
        if generation.id in self._running:
            self.keeper.send(Cancel(generation.id))
            self._forget(generation)
            self._admit()
        elif generation in self._waiting:
            self._waiting.remove(generation)
            # It may have been the one for which the others had no room.
            self._admit()

    def abort_all(self, error: MalocaError) -> None:
        """End every request with that error."""
        for generation in [*self._running.values(), *self._waiting]:
            self.release(generation)
            generation.outputs.put_nowait(error)

    # What the keeper calls.

    @property
    def waiting_for_worker(self) -> bool:
        """Whether the worker owes an answer."""
        return bool(self._running)

    def on_ready(self, capacity: Capacity) -> None:
        """Send what waited for the load, refusing what turns out not to fit."""
        for generation in list(self._waiting):
            generation.fit(capacity)
            try:
                _check_fits(generation, capacity)
            except MalocaError as error:
                self._waiting.remove(generation)
                generation.outputs.put_nowait(error)
        self._admit()

    def on_frame(self, frame: FromWorker) -> None:
        """Hand out the tokens of a step."""
        if not isinstance(frame, Step):
            return
        finished = False
        for output in frame.outputs:
            generation = self._running.get(output.id)
            if generation is None:
                continue  # It was cancelled while this step ran.
            generation.outputs.put_nowait(output)
            if output.finish:
                finished = True
                self._learn_duration(generation)
                self._forget(generation)
        if finished:
            self._admit()

    def on_lost(self, error: MalocaError, *, for_good: bool) -> None:
        """Fail what ran; what waits keeps waiting unless the worker will not come back."""
        lost = [*self._running.values(), *(self._waiting if for_good else ())]
        self._running.clear()
        self._blocks_used = 0
        if for_good:
            self._waiting.clear()
            self._failed_at = time.monotonic()
        for generation in lost:
            generation.outputs.put_nowait(error)

    def _refuse_while_failed(self) -> None:
        """Refuse at once what cannot be loaded, but try anew now and then: files get mended."""
        if self.keeper.state is WorkerState.STOPPED:
            raise stopped()
        if self.keeper.state is not WorkerState.FAILED:
            return
        if time.monotonic() - self._failed_at > _RETRY_LOAD_AFTER:
            self.keeper.start()
            return
        if self.keeper.failure is not None:
            raise self.keeper.failure.to_exception()

    def _admit(self) -> None:
        capacity = self.keeper.capacity
        if capacity is None or self.keeper.state is not WorkerState.READY:
            return
        limit = min(self._max_running, capacity.max_running)
        while self._waiting and len(self._running) < limit:
            first = self._waiting[0]
            if self._blocks_used + first.blocks(capacity) > capacity.blocks and capacity.block_size:
                return
            self._waiting.popleft()
            self._blocks_used += first.blocks(capacity)
            first.admitted = time.monotonic()
            self.keeper.send(Add(first.id, first.prompt, first.params))
            self._running[first.id] = first

    def _forget(self, generation: Generation) -> None:
        del self._running[generation.id]
        if self.keeper.capacity is not None:
            self._blocks_used -= generation.blocks(self.keeper.capacity)

    def _learn_duration(self, generation: Generation) -> None:
        if generation.admitted is not None:
            seconds = time.monotonic() - generation.admitted
            self._seconds_per_request += 0.2 * (seconds - self._seconds_per_request)


def stopped() -> Unavailable:
    """Return the error for a request to a model whose worker was stopped."""
    return Unavailable("The model is being stopped.", retry_after=5.0)


def _check_fits(generation: Generation, capacity: Capacity) -> None:
    """Refuse a request that the KV cache could never hold."""
    if capacity.block_size and generation.blocks(capacity) > capacity.blocks:
        held = capacity.blocks * capacity.block_size
        raise ContextLengthExceeded(
            f"The prompt of {len(generation.prompt)} tokens and up to "
            f"{generation.params.max_new_tokens} new ones need more than the {held} tokens "
            "that the KV cache holds.",
            param="messages",
            hint="Ask for fewer new tokens, shorten the prompt, "
            "or raise MALOCA_ENGINE_KV_CACHE_MB.",
        )
