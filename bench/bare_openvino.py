"""The bare runtime as a child process: OpenVINO GenAI with token ids in, nothing around it.

Each line on standard input is a JSON list of prompts (lists of token ids) and a number of new
tokens; each line on standard output answers with the first token's time and the whole, in seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

BLOCK_SIZE = 32


def main() -> None:
    """Load the model folder named on the command line and answer until the input ends."""
    sink = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What libraries print must not mix with the answers.
    options: dict[str, Any] = json.loads(sys.argv[2])
    config = genai.SchedulerConfig()
    config.num_kv_blocks = options["blocks"]
    config.max_num_batched_tokens = options["prefill_chunk"]
    config.max_num_seqs = options["max_running"]
    config.enable_prefix_caching = True
    config.dynamic_split_fuse = True
    pipeline = genai.ContinuousBatchingPipeline(str(Path(sys.argv[1])), config, "CPU", {})
    _run(pipeline, [[1] * 300], 4, options["eos"])
    print("ready", file=sink)
    for line in sys.stdin:
        prompts, new_tokens = json.loads(line)
        print(json.dumps(_run(pipeline, prompts, new_tokens, options["eos"])), file=sink)


_ids = iter(range(1, 1_000_000))


def _run(pipeline: Any, prompts: list[list[int]], new_tokens: int, eos: int) -> dict[str, Any]:
    config = genai.GenerationConfig()
    config.max_new_tokens = new_tokens
    config.ignore_eos = True
    config.eos_token_id = eos
    config.stop_token_ids = {eos}
    began = time.perf_counter()
    handles = [
        pipeline.add_request(next(_ids), ov.Tensor(np.array([prompt], dtype=np.int64)), config)
        for prompt in prompts
    ]
    first, tokens = 0.0, 0
    while pipeline.has_non_finished_requests():
        pipeline.step()
        for handle in handles:
            while handle.can_read():
                tokens += sum(len(out.generated_ids) for out in handle.read().values())
                first = first or time.perf_counter() - began
    return {"ttft": first, "seconds": time.perf_counter() - began, "tokens": tokens}


if __name__ == "__main__":
    main()
