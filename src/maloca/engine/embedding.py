"""A loaded embedding model: texts in, unit vectors out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from maloca.core.budget import Budget
from maloca.core.completer import EmbeddingRequest, Embeddings
from maloca.core.errors import ContextLengthExceeded, MalocaError, ModelFailed, Overloaded
from maloca.engine.metrics import EngineMetrics
from maloca.engine.scheduler import stopped
from maloca.engine.settings import EngineSettings
from maloca.engine.spec import model_spec
from maloca.engine.store.manifest import StoredModel
from maloca.engine.text_files import read_tokenizer
from maloca.engine.workers.frames import Capacity, Embed, Embedded, FromWorker
from maloca.engine.workers.keeper import WorkerKeeper, WorkerState

BATCH_TEXTS: Final = 64
BATCH_TOKENS: Final = 8192
_LONG_TEXT: Final = 20_000


@dataclass(slots=True, eq=False)
class _Batch:
    """A part of one request; small enough that another request need not wait long."""

    id: int
    sequences: list[list[int]]
    sent: bool = False
    result: asyncio.Future[bytes] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class EmbeddingModel:
    """Embeds texts with one model; the tenant of its worker."""

    def __init__(
        self, model: StoredModel, settings: EngineSettings, metrics: EngineMetrics
    ) -> None:
        """Read the tokenizer; `keeper.start` loads the weights.

        Raises:
            ModelFailed: The tokenizer is missing or damaged.
        """
        self.model = model
        self.tokenizer = read_tokenizer(model)
        self.keeper = WorkerKeeper(
            model_spec(model, settings),
            self,
            load_timeout=settings.load_timeout,
            step_timeout=settings.step_timeout,
        )
        self._queue_limit = settings.queue_limit
        self._default_budget = settings.request_timeout
        self._metrics = metrics
        self._ids = itertools.count(1)
        self._pending: dict[int, _Batch] = {}

    async def stop(self) -> None:
        """End the worker, and every request with one error."""
        await self.keeper.stop()
        self.on_lost(stopped(), for_good=True)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Return one vector per text; see `Embedder.embed`."""
        outcome = "cancelled"
        try:
            embeddings = await self._embed(request)
            outcome = "stop"
        except MalocaError as error:
            outcome = error.info.code
            raise
        else:
            self._metrics.prompt_tokens.labels(self.model.name).inc(embeddings.tokens)
            return embeddings
        finally:
            self._metrics.requests.labels(self.model.name, "embedding", outcome).inc()

    async def _embed(self, request: EmbeddingRequest) -> Embeddings:
        sequences = await self.encode(request.texts)
        self._refuse(sequences)
        budget = request.budget or Budget.of_ms(self._default_budget * 1000)
        try:
            async with asyncio.timeout(budget.remaining_seconds):
                # One batch after the other: other requests take turns, a disconnect ends the rest.
                parts = [await self._run(batch) for batch in _batches(sequences)]
        except TimeoutError:
            raise budget.exceeded() from None
        return Embeddings(
            model=self.model.name,
            dim=self.keeper.capacity.dim if self.keeper.capacity else 0,
            data=b"".join(parts),
            tokens=sum(map(len, sequences)),
        )

    async def _run(self, sequences: list[list[int]]) -> bytes:
        batch = _Batch(next(self._ids), sequences)
        self._pending[batch.id] = batch
        try:
            self._send(batch)
            return await batch.result
        finally:
            del self._pending[batch.id]

    async def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return token ids, sentence markers included."""
        if sum(map(len, texts)) < _LONG_TEXT:
            return self.tokenizer.encode_for_embedding(texts)
        return await asyncio.to_thread(self.tokenizer.encode_for_embedding, texts)

    def _refuse(self, sequences: list[list[int]]) -> None:
        if self.keeper.state is WorkerState.STOPPED:
            raise stopped()
        if self.keeper.state is WorkerState.FAILED:
            failure = self.keeper.failure
            self.keeper.start()  # The files may have been mended; the next request will know.
            if failure is not None:
                raise failure.to_exception()
        if len(self._pending) >= self._queue_limit:
            raise Overloaded(
                f"{len(self._pending)} requests are waiting for this model already.",
                hint="Try again a little later.",
                retry_after=1.0,
            )
        limit = self.model.manifest.context_length
        for index, sequence in enumerate(sequences):
            if len(sequence) > limit:
                raise ContextLengthExceeded(
                    f"Text {index} has {len(sequence)} tokens, "
                    f"but {self.model.name} reads {limit} at once.",
                    param=f"texts[{index}]",
                    hint="Split the text; nothing was cut.",
                )

    def _send(self, batch: _Batch) -> None:
        if self.keeper.state is WorkerState.READY:
            self.keeper.send(Embed(batch.id, batch.sequences))
            batch.sent = True

    # What the keeper calls.

    @property
    def waiting_for_worker(self) -> bool:
        """Whether the worker owes vectors."""
        return any(batch.sent for batch in self._pending.values())

    def on_ready(self, capacity: Capacity) -> None:  # noqa: ARG002 - the keeper remembers it
        """Send what waited for the load."""
        for batch in self._pending.values():
            self._send(batch)

    def on_frame(self, frame: FromWorker) -> None:
        """Hand out vectors."""
        if isinstance(frame, Embedded) and (batch := self._pending.get(frame.id)):
            if batch.result.done():
                return
            if frame.error:
                batch.result.set_exception(ModelFailed(f"Embedding failed: {frame.error}."))
            else:
                batch.result.set_result(frame.vectors)

    def on_lost(self, error: MalocaError, *, for_good: bool) -> None:
        """Fail what was sent; what was not keeps waiting unless the worker will not come back."""
        for batch in self._pending.values():
            if (batch.sent or for_good) and not batch.result.done():
                batch.result.set_exception(error)


def _batches(sequences: list[list[int]]) -> Iterator[list[list[int]]]:
    """Split texts, in order, into batches of bounded size."""
    batch: list[list[int]] = []
    tokens = 0
    for sequence in sequences:
        if batch and (len(batch) >= BATCH_TEXTS or tokens + len(sequence) > BATCH_TOKENS):
            yield batch
            batch, tokens = [], 0
        batch.append(sequence)
        tokens += len(sequence)
    if batch:
        yield batch
