"""Chat models in OpenVINO GenAI's continuous batching pipeline.

What is worked around here was seen on version 2026.4: an unset seed is 0 (the engine always sends
one), a cancelled request and one that ran out of KV blocks end with the same status (so this class
remembers what it cancelled), and stop strings cut at token borders (the engine cuts them instead).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import openvino as ov
import openvino_genai as genai

from maloca.engine.runtimes.base import ChatRuntime, ModelLoadError
from maloca.engine.runtimes.openvino_ir import ir_folder, kv_bytes_per_token
from maloca.engine.workers.frames import Capacity, GenerationParams, ModelSpec, TokenOutput

BLOCK_SIZE: Final = 32  # What the CPU plugin uses; it cannot be chosen.
_MIB: Final = 1024 * 1024
_WARM_UP_TOKENS: Final = 4


@dataclass(slots=True)
class _Run:
    """One generation in the pipeline."""

    handle: Any
    budget: int
    said: int = 0


class OpenVinoChat(ChatRuntime):
    """Continuous batching with a paged KV cache and prefix caching."""

    def __init__(self, spec: ModelSpec) -> None:
        """Load the model's IR, deriving it first from a GGUF file if it is not there yet."""
        options = spec.options
        source = ir_folder(spec)
        per_block = kv_bytes_per_token(spec) * BLOCK_SIZE
        blocks = max(2, int(options["kv_cache_mb"]) * _MIB // per_block)
        # A cache for several whole contexts would never fill up; memory is better left alone.
        whole = -(-spec.context_length // BLOCK_SIZE)
        blocks = min(blocks, whole * int(options["max_running"]))
        try:
            self._pipeline = genai.ContinuousBatchingPipeline(
                str(source), _scheduler(options, blocks), "CPU", _properties(options)
            )
        except RuntimeError as error:
            raise ModelLoadError(f"{source}: OpenVINO refuses it: {_first_line(error)}") from error
        self._stop_ids = spec.stop_token_ids
        self._runs: dict[int, _Run] = {}
        self.capacity = Capacity(
            context_length=min(spec.context_length, blocks * BLOCK_SIZE),
            block_size=BLOCK_SIZE,
            blocks=blocks,
            max_running=int(options["max_running"]),
            device="CPU",
            capabilities=["seed", "penalties", "prefix_cache"],
        )
        self._warm_up(int(options["prefill_chunk"]))

    def add(self, request_id: int, prompt: Sequence[int], params: GenerationParams) -> None:
        """Begin a generation."""
        ids = ov.Tensor(np.array([prompt], dtype=np.int64))
        try:
            handle = self._pipeline.add_request(request_id, ids, self._config(params))
        except RuntimeError as error:
            raise ValueError(_first_line(error)) from error
        self._runs[request_id] = _Run(handle, params.max_new_tokens)

    def cancel(self, request_id: int) -> None:
        """Stop a generation; its blocks are free after the next step."""
        run = self._runs.pop(request_id, None)
        if run is not None:
            run.handle.cancel()

    def step(self) -> list[TokenOutput]:
        """Run one iteration of the pipeline; see `ChatRuntime.step`."""
        self._pipeline.step()
        outputs = []
        for request_id, run in list(self._runs.items()):
            output = self._collect(request_id, run)
            if output is not None:
                outputs.append(output)
            if output is not None and output.finish:
                del self._runs[request_id]
        return outputs

    @property
    def busy(self) -> bool:
        """Whether anything runs, or was cancelled and has not been swept out yet."""
        return bool(self._runs) or bool(self._pipeline.has_non_finished_requests())

    def _collect(self, request_id: int, run: _Run) -> TokenOutput | None:
        tokens: list[int] = []
        while run.handle.can_read():
            for output in run.handle.read().values():
                tokens += output.generated_ids
        run.said += len(tokens)
        status = run.handle.get_status()
        if status == genai.GenerationStatus.RUNNING:
            return TokenOutput(request_id, tokens) if tokens else None
        if status == genai.GenerationStatus.FINISHED:
            stopped = bool(tokens) and tokens[-1] in self._stop_ids
            cut = run.said >= run.budget and not stopped
            return TokenOutput(request_id, tokens, "length" if cut else "stop")
        return TokenOutput(request_id, tokens, "error", f"OpenVINO ended it as {status.name}")

    def _config(self, params: GenerationParams) -> Any:
        config = genai.GenerationConfig()
        config.max_new_tokens = params.max_new_tokens
        config.ignore_eos = params.ignore_eos
        config.eos_token_id = self._stop_ids[0]
        config.stop_token_ids = set(self._stop_ids[:1] if params.ignore_eos else self._stop_ids)
        config.frequency_penalty = params.frequency_penalty
        config.presence_penalty = params.presence_penalty
        config.do_sample = params.temperature > 0
        if config.do_sample:
            config.temperature = params.temperature
            config.top_p = params.top_p
            config.rng_seed = params.seed
            if params.top_k:
                config.top_k = params.top_k
        return config

    def _warm_up(self, prefill_chunk: int) -> None:
        """Run a short request, so that the first user does not wait for kernels to compile."""
        length = min(prefill_chunk + BLOCK_SIZE, self.capacity.context_length - _WARM_UP_TOKENS)
        params = GenerationParams(
            max_new_tokens=_WARM_UP_TOKENS, temperature=1.0, top_p=0.9, seed=0, ignore_eos=True
        )
        try:
            self.add(0, [self._stop_ids[0]] * max(1, length), params)
            while self.busy:
                self.step()
        except (RuntimeError, ValueError) as error:
            raise ModelLoadError(f"the first generation failed: {_first_line(error)}") from error


def _scheduler(options: dict[str, Any], blocks: int) -> Any:
    config = genai.SchedulerConfig()
    config.num_kv_blocks = blocks
    config.max_num_batched_tokens = int(options["prefill_chunk"])
    config.max_num_seqs = int(options["max_running"])
    config.enable_prefix_caching = bool(options["prefix_cache"])
    config.dynamic_split_fuse = True
    return config


def _properties(options: dict[str, Any]) -> dict[str, Any]:
    return {"INFERENCE_NUM_THREADS": options["threads"]} if options.get("threads") else {}


def _first_line(error: Exception) -> str:
    """Return the sentence of an OpenVINO error without the source position around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    spoken = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (spoken or lines or [type(error).__name__])[0].rstrip(":.")
