"""A loaded chat model: the text layer around a scheduler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from maloca.core.budget import Budget
from maloca.core.completer import CompletionRequest
from maloca.core.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    MalocaError,
    ModelFailed,
    Unsupported,
)
from maloca.core.events import (
    Cancelled,
    Delta,
    Done,
    Event,
    Failed,
    FinishReason,
    Started,
    Timings,
    Usage,
)
from maloca.core.messages import Message
from maloca.core.sampling import new_seed
from maloca.engine.metrics import EngineMetrics
from maloca.engine.scheduler import Generation, Scheduler
from maloca.engine.settings import EngineSettings
from maloca.engine.spec import model_spec
from maloca.engine.store.manifest import CHAT_TEMPLATE, StoredModel
from maloca.engine.text_files import read_tokenizer, unreadable
from maloca.engine.workers.frames import GenerationParams, TokenOutput
from maloca.engine.workers.keeper import WorkerKeeper
from maloca.text.detokenizer import Detokenizer
from maloca.text.stops import StopCutter
from maloca.text.template import ChatTemplate
from maloca.text.tokenizer import Tokenizer

_LONG_TEXT: Final = 20_000


class Stopped(MalocaError):
    """The engine is stopping; a stream that still runs ends as cancelled."""


class ChatModel:
    """Answers conversations with one model."""

    def __init__(
        self, model: StoredModel, settings: EngineSettings, metrics: EngineMetrics
    ) -> None:
        """Read the tokenizer and the template; `keeper.start` loads the weights.

        Raises:
            ModelFailed: The tokenizer or the template is missing or damaged.
        """
        self.model = model
        self.tokenizer, self.template = _text_layer(model)
        self.scheduler = Scheduler(
            queue_limit=settings.queue_limit, max_running=settings.max_running
        )
        self.keeper = WorkerKeeper(
            model_spec(model, settings),
            self.scheduler,
            load_timeout=settings.load_timeout,
            step_timeout=settings.step_timeout,
        )
        self.scheduler.keeper = self.keeper
        self._default_budget = settings.request_timeout
        self._prefix_cache = settings.prefix_cache
        self._metrics = metrics

    @property
    def device(self) -> str:
        """Where the model runs; empty until it is loaded."""
        return self.keeper.capacity.device if self.keeper.capacity else ""

    async def stop(self) -> None:
        """End every stream, then the worker."""
        self.scheduler.abort_all(Stopped("The engine is stopping."))
        await self.keeper.stop()

    async def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt's token ids.

        Raises:
            InvalidRequest: The template refuses the messages.
        """
        if sum(len(message.content) for message in messages) < _LONG_TEXT:
            return self.template.encode(messages)
        # The tokenizer releases the interpreter lock, so that others go on meanwhile.
        return await asyncio.to_thread(self.template.encode, messages)

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one answer; see `Completer.complete`."""
        if not request.cache_prompt and self._prefix_cache:
            raise Unsupported(
                "This engine shares the KV cache of prompts; one request cannot leave it out.",
                param="cache_prompt",
                hint="Start the engine with MALOCA_ENGINE_PREFIX_CACHE=false.",
            )
        prompt = await self.encode(request.messages)
        generation = self.scheduler.submit(
            prompt,
            self._params(request, len(prompt)),
            open_ended=request.sampling.max_new_tokens is None,
        )
        answer = _Answer(self, request, generation)
        budget = request.budget or Budget.of_ms(self._default_budget * 1000)
        timer = asyncio.get_running_loop().call_later(
            budget.remaining_seconds, generation.outputs.put_nowait, budget.exceeded()
        )
        try:
            yield answer.started()
            while not answer.ended:
                for event in answer.take(await generation.outputs.get()):
                    yield event
        finally:
            timer.cancel()
            self.scheduler.release(generation)
            answer.count(self._metrics)

    def _params(self, request: CompletionRequest, prompt_tokens: int) -> GenerationParams:
        """Fit the answer into the context, or refuse."""
        capacity = self.keeper.capacity
        limit = self.model.manifest.context_length
        limit = min(limit, capacity.context_length) if capacity else limit
        room = limit - prompt_tokens
        sampling = request.sampling
        wanted = sampling.max_new_tokens
        if prompt_tokens == 0:
            raise InvalidRequest("The prompt is empty.", param="messages")
        if room < 1 or (wanted is not None and wanted > room):
            asked = "" if wanted is None else f" and {wanted} new ones are asked for"
            raise ContextLengthExceeded(
                f"The prompt has {prompt_tokens} tokens{asked}, "
                f"but {self.model.name} holds {limit} in all.",
                param="messages" if room < 1 else "max_new_tokens",
                hint="Shorten the conversation or ask for fewer new tokens; nothing was cut.",
            )
        return GenerationParams(
            max_new_tokens=room if wanted is None else wanted,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
            seed=new_seed() if sampling.seed is None else sampling.seed,
            ignore_eos=sampling.ignore_eos,
        )


class _Answer:
    """Turns token outputs into events, and remembers what is worth counting."""

    def __init__(
        self, model: ChatModel, request: CompletionRequest, generation: Generation
    ) -> None:
        self._name = model.model.name
        self._device = model.device
        self._request = request
        self._generation = generation
        self._detokenizer = Detokenizer(model.tokenizer)
        self._cutter = StopCutter(request.sampling.stop)
        self._completion_tokens = 0
        self._first: float | None = None
        self._gaps: list[float] = []
        self._last = 0.0
        self.ended = False
        self._outcome = "cancelled"

    def started(self) -> Started:
        return Started(
            id=self._request.id,
            model=self._name,
            created=int(time.time()),
            prompt_tokens=len(self._generation.prompt),
            device=self._device,
        )

    def take(self, output: TokenOutput | MalocaError) -> list[Event]:
        """Return the events that one output causes."""
        if isinstance(output, MalocaError):
            return [self._fail(output)]
        if output.finish == "error":
            reason = output.error or "the runtime gave no reason"
            return [
                self._fail(
                    ModelFailed(f"The generation failed: {reason}.", code="generation_failed")
                )
            ]
        if output.tokens:
            self._clock(len(output.tokens))
        text = self._cutter.feed(self._detokenizer.feed(output.tokens))
        if output.finish and not self._cutter.stopped:
            text += self._cutter.feed(self._detokenizer.flush()) + self._cutter.flush()
        events: list[Event] = [Delta(text)] if text else []
        if self._cutter.stopped or output.finish:
            stopped = self._cutter.stopped or output.finish == "stop"
            events += self._end("stop" if stopped else "length")
        return events

    def count(self, metrics: EngineMetrics) -> None:
        """Record how the request went, once it is over."""
        name, generation = self._name, self._generation
        metrics.requests.labels(name, "chat", self._outcome).inc()
        metrics.prompt_tokens.labels(name).inc(len(generation.prompt))
        metrics.completion_tokens.labels(name).inc(self._completion_tokens)
        if generation.admitted is not None:
            metrics.queue.labels(name).observe(generation.admitted - generation.accepted)
        if self._first is not None:
            metrics.ttft.labels(name).observe(self._first - generation.accepted)
        observe = metrics.inter_token.labels(name).observe
        for gap in self._gaps:
            observe(gap)

    def _clock(self, tokens: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now
        else:
            self._gaps += [(now - self._last) / tokens] * tokens
        self._last = now
        self._completion_tokens += tokens

    def _fail(self, error: MalocaError) -> Failed | Cancelled:
        self.ended = True
        if isinstance(error, Stopped):
            return Cancelled("the engine is stopping")
        self._outcome = error.info.code
        return Failed(error.info)

    def _end(self, reason: FinishReason) -> list[Event]:
        self.ended = True
        self._outcome = reason
        usage = Usage(
            prompt_tokens=len(self._generation.prompt), completion_tokens=self._completion_tokens
        )
        return [usage, Done(finish_reason=reason, timings=self._timings())]

    def _timings(self) -> Timings:
        generation, now = self._generation, time.monotonic()
        first = self._first or now
        admitted = generation.admitted or now
        decode = self._last - first
        return Timings(
            queue_ms=round((admitted - generation.accepted) * 1000, 2),
            ttft_ms=round((first - generation.accepted) * 1000, 2),
            total_ms=round((now - generation.accepted) * 1000, 2),
            tokens_per_second=round((self._completion_tokens - 1) / decode, 2) if decode else 0.0,
        )


def _text_layer(model: StoredModel) -> tuple[Tokenizer, ChatTemplate]:
    """Read a chat model's tokenizer and template."""
    tokenizer = read_tokenizer(model)
    try:
        source = model.chat_template
    except (OSError, ValueError) as error:
        raise unreadable(model, model.folder / CHAT_TEMPLATE, error) from error
    if source is None:
        raise ModelFailed(
            f"{model.name} has no chat template, so it cannot hold a conversation.",
            code="no_chat_template",
            hint="It is a base model; use an instruct or chat variant.",
        )
    manifest = model.manifest
    eos = manifest.stop_token_ids[0] if manifest.stop_token_ids else None
    template = ChatTemplate(
        source,
        tokenizer,
        bos=tokenizer.control_text(manifest.bos_token_id),
        eos=tokenizer.control_text(eos),
    )
    return tokenizer, template
