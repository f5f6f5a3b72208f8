"""Embeddings per second: Maloca's runtime against sentence-transformers, in one run.

    python -m bench.embeddings [--rounds 5] [--threads N]

Both start from the same texts and end with vectors in memory: tokenization counts, HTTP does
not. They take turns within each round, so that a machine that slows down slows both. Needs the
extra `transformers`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.report import Report, median
from maloca.core.home import models_dir
from maloca.engine.runtimes.openvino_embedding import OpenVinoEmbedding
from maloca.engine.settings import EngineSettings
from maloca.engine.spec import model_spec
from maloca.engine.store.manifest import StoredModel
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore
from maloca.text.tokenizer import Tokenizer

MODEL = "all-minilm-l6-v2"
SIMILARITY = 0.9999

# Each is one token of the model, so that a text's length can be chosen.
_WORDS = ("river", "house", "fire", "forest", "boat", "song", "word", "child", "rain", "fish")
_MARKERS = 2

Embed = Callable[[list[str]], Any]


class Workload:
    """Texts whose lengths in tokens, sentence markers included, are drawn from a range."""

    def __init__(self, name: str, lengths: Iterator[int], count: int) -> None:
        dice = random.Random(7)  # noqa: S311 - texts, not secrets
        self.name = name
        self.texts = [
            " ".join(dice.choices(_WORDS, k=length - _MARKERS))
            for length in itertools.islice(lengths, count)
        ]


def workloads() -> list[Workload]:
    """Return what an application sends: questions, sentences, passages, and all of them."""
    dice = random.Random(11)  # noqa: S311 - lengths, not secrets
    short = iter(lambda: dice.randint(4, 14), 0)
    middle = iter(lambda: dice.randint(24, 44), 0)
    long = iter(lambda: dice.randint(150, 256), 0)
    mixed = (next(dice.choice((short, middle, middle, long))) for _ in itertools.count())
    return [
        Workload("1,000 sentences of ~34 tokens", middle, 1000),
        Workload("1,000 texts of 4 to 14 tokens", short, 1000),
        Workload("100 texts of 150 to 256 tokens", long, 100),
        Workload("400 texts of 4 to 256 tokens", mixed, 400),
    ]


def maloca(model: StoredModel, threads: int) -> Embed:
    """Return this runtime behind the engine's own tokenizer."""
    tokenizer = Tokenizer.from_file(model.tokenizer)
    runtime = OpenVinoEmbedding(model_spec(model, EngineSettings.load(threads=threads)))

    def embed(texts: list[str]) -> Any:
        raw = runtime.embed(tokenizer.encode_for_embedding(texts))
        return np.frombuffer(raw, "<f4").reshape(len(texts), runtime.capacity.dim)

    return embed


def sentence_transformers(model: StoredModel, threads: int) -> Embed:
    """Return sentence-transformers with its own defaults."""
    try:
        import sentence_transformers as library  # noqa: PLC0415 - an extra, and seconds long
        import torch  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'maloca[transformers]'")
    if threads:
        torch.set_num_threads(threads)
    reference = library.SentenceTransformer(str(model.folder), device="cpu")

    def embed(texts: list[str]) -> Any:
        return reference.encode(texts, show_progress_bar=False)

    return embed


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Run everything, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every workload")
    parser.add_argument("--threads", type=int, default=0, help="threads of each; 0: its default")
    options = parser.parse_args()
    model = pull(ModelStore(models_dir()), MODEL)
    theirs = sentence_transformers(model, options.threads)
    ours = maloca(model, options.threads)
    report = Report(
        "embeddings", "Embeddings on the processor", ("sentence-transformers", "maloca", "ratio")
    )
    cosines = []
    for workload in workloads():
        texts = workload.texts
        cosines.append(float((ours(texts) * theirs(texts)).sum(axis=1).min()))
        rounds = [
            [len(texts) / seconds(lambda: embed(texts)) for embed in (theirs, ours)]  # noqa: B023 - called at once
            for _ in range(options.rounds)
        ]
        add(report, workload.name, rounds, "texts/s")
    question = workloads()[0].texts[:50]
    one_by_one = [
        [seconds(lambda: embed([text])) * 1000 for embed in (theirs, ours)]  # noqa: B023 - called at once
        for text in question
    ]
    add(report, "one text of ~34 tokens", one_by_one, "ms")
    report.at_least("smallest cosine with sentence-transformers", min(cosines), SIMILARITY, unit="")
    report.finish()


def add(report: Report, name: str, rounds: list[list[float]], unit: str) -> None:
    """Add the medians of both, and the median of each round's ratio."""
    theirs, ours = zip(*rounds, strict=True)
    ratio = median([mine / other for other, mine in rounds])
    report.row(name, median(theirs), median(ours), ratio, unit=unit)


if __name__ == "__main__":
    main()
