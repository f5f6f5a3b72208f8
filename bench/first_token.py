"""Time to first token and throughput: the bare runtime, the engine and the server, in one run.

    python -m bench.first_token [--rounds 30]

The same model, the same prompts and the same number of new tokens go to the bare OpenVINO GenAI
pipeline (token ids in a loop of its own), to the engine and to the server over HTTP. The three
take turns within each round, so that a machine that slows down slows all of them. Every prompt
begins with a number of its own, so that no prefix cache answers. What the server itself adds is
measured in front of the fake runtime, which answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.load import NATIVE, PAGE, chat, total_rate
from bench.report import Report, median, percentile
from bench.services import BareOpenVino, service
from maloca.core.home import models_dir
from maloca.core.messages import Message
from maloca.engine.chat import ChatModel
from maloca.engine.metrics import EngineMetrics
from maloca.engine.runtimes.openvino_ir import ir_folder
from maloca.engine.settings import EngineSettings
from maloca.engine.spec import model_spec
from maloca.engine.store.fake import install_fake
from maloca.engine.store.pull import pull
from maloca.engine.store.store import ModelStore

MODEL = "smollm2-135m-instruct"
STREAMS = 8
SERVER_ADDS_MS = 3.0

_WORDS = ("river", "house", "fire", "forest", "canoe", "song", "word", "child", "rain", "maize")

Measures = dict[str, list[float]]


class Bench:
    """One run; every measure is a list of rounds per contestant."""

    def __init__(self, bare: BareOpenVino, text: ChatModel, engine: str, server: str) -> None:
        self._bare = bare
        self._text = text
        self._engine = engine
        self._server = server
        self._dice = random.Random(7)  # noqa: S311 - prompts, not secrets

    def prompt(self, words: int) -> str:
        """Return a prompt that no earlier one shares a prefix with."""
        return " ".join([str(self._dice.random()), *self._dice.choices(_WORDS, k=words)])

    def ids(self, prompt: str) -> list[int]:
        """Return the token ids that the engine would send to its worker."""
        return self._text.template.encode([Message("user", prompt)])

    async def ttft(self, words: int, rounds: int) -> Measures:
        """Measure milliseconds to the first token, one stream."""
        found: Measures = {"bare": [], "engine": [], "server": []}
        for _ in range(rounds):
            found["bare"].append(self._bare.run([self.ids(self.prompt(words))], 2)["ttft"] * 1000)
            for name, url in (("engine", self._engine), ("server", self._server)):
                found[name].append((await chat(url, self.prompt(words), 2)).ttft * 1000)
        return found

    async def decode(self, rounds: int, new_tokens: int = 128) -> Measures:
        """Measure tokens per second after the first, one stream."""
        found: Measures = {"bare": [], "engine": [], "server": []}
        for _ in range(rounds):
            alone = self._bare.run([self.ids(self.prompt(20))], new_tokens)
            found["bare"].append((alone["tokens"] - 1) / (alone["seconds"] - alone["ttft"]))
            for name, url, path in (
                ("engine", self._engine, NATIVE),
                ("server", self._server, PAGE),
            ):
                stream = await chat(url, self.prompt(20), new_tokens, path=path)
                found[name].append(stream.decode_rate)
        return found

    async def throughput(self, rounds: int, words: int = 170, new_tokens: int = 128) -> Measures:
        """Measure completion tokens per second of several streams together."""
        found: Measures = {"bare": [], "engine": [], "server": []}
        for _ in range(rounds):
            alone = self._bare.run(
                [self.ids(self.prompt(words)) for _ in range(STREAMS)], new_tokens
            )
            found["bare"].append(alone["tokens"] / alone["seconds"])
            for name, url, path in (
                ("engine", self._engine, NATIVE),
                ("server", self._server, PAGE),
            ):
                texts = [self.prompt(words) for _ in range(STREAMS)]
                found[name].append(await total_rate(url, texts, new_tokens, path=path))
        return found


async def server_adds(engine: str, server: str, rounds: int) -> Measures:
    """Measure milliseconds to the first token in front of the fake runtime."""
    found: Measures = {"engine": [], "server": []}
    for number in range(rounds + 20):
        pair = [(await chat(url, f"hola {number}", 8)).ttft * 1000 for url in (engine, server)]
        if number >= 20:  # The first ones open connections and warm caches.
            found["engine"].append(pair[0])
            found["server"].append(pair[1])
    return found


def main() -> None:
    """Run everything, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of the short prompt")
    rounds = parser.parse_args().rounds
    report = Report(
        "first_token", "Bare OpenVINO GenAI, engine, server", ("bare", "engine", "server")
    )
    with_real_model(report, rounds)
    with_fake_model(report, rounds * 10)
    report.finish()


def with_real_model(report: Report, rounds: int) -> None:
    """Compare the three with the bundled chat model."""
    store = ModelStore(models_dir())
    model = pull(store, MODEL)
    settings = EngineSettings.load(models_dir=store.path)
    text = ChatModel(model, settings, EngineMetrics())
    bare = BareOpenVino(
        ir_folder(model_spec(model, settings)),
        blocks=2048,
        prefill_chunk=settings.prefill_chunk,
        max_running=settings.max_running,
        eos=model.manifest.stop_token_ids[0],
    )
    with (
        service("engine", "serve", models_dir=store.path) as engine,
        service("server", "serve", models_dir=store.path, MALOCA_ENGINE_URL=engine) as server,
    ):
        bench = Bench(bare, text, engine, server)
        asyncio.run(bench.ttft(20, 3))  # warm-up
        _add(report, "TTFT p50, ~45 tokens", asyncio.run(bench.ttft(20, rounds)), median, "ms")
        _add(
            report, "TTFT p50, ~550 tokens", asyncio.run(bench.ttft(480, rounds // 3)), median, "ms"
        )
        decode = asyncio.run(bench.decode(max(3, rounds // 6)))
        _add(report, "decode, one stream", decode, median, "tok/s")
        together = asyncio.run(bench.throughput(max(3, rounds // 6)))
        _add(report, f"{STREAMS} streams, ~230 in + 128 out", together, median, "tok/s")
    bare.close()


def with_fake_model(report: Report, rounds: int) -> None:
    """Measure what the services themselves cost."""
    with tempfile.TemporaryDirectory(prefix="maloca-bench-") as folder:
        store = ModelStore(Path(folder))
        install_fake(store)
        store.set_alias("default", "fake")
        with (
            service("engine", "serve", models_dir=store.path) as engine,
            service("server", "serve", models_dir=store.path, MALOCA_ENGINE_URL=engine) as server,
        ):
            found = asyncio.run(server_adds(engine, server, rounds))
    _add(report, "TTFT p50, instant model", found, median, "ms")
    _add(report, "TTFT p99, instant model", found, lambda ms: percentile(ms, 99), "ms")
    added = median([s - e for e, s in zip(found["engine"], found["server"], strict=True)])
    report.target("server adds to the first token, p50", added, at_most=SERVER_ADDS_MS, unit="ms")


def _add(
    report: Report, name: str, found: Measures, of: Callable[[list[float]], float], unit: str
) -> None:
    values = [of(found[who]) if who in found else None for who in ("bare", "engine", "server")]
    report.row(name, *values, unit=unit)


if __name__ == "__main__":
    main()
