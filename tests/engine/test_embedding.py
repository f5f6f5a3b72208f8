from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import engine_settings, fake_store
from tests.observe import eventually

from maloca.core.completer import EmbeddingRequest, Embeddings
from maloca.core.errors import MalocaError, Overloaded
from maloca.engine.embedding import EmbeddingModel
from maloca.engine.engine import Engine
from maloca.engine.store.fake import install_fake
from maloca.engine.workers.keeper import WorkerState

FAULTY = 13


@asynccontextmanager
async def embedding(
    root: Path, settings: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[Engine, EmbeddingModel]]:
    """Run an engine whose `embedding` is a fake model that misbehaves on texts of 13 bytes."""
    store = fake_store(root)
    install_fake(
        store, "fake-embedding", kind="embedding", dim=8, context_length=64, on=FAULTY, **options
    )
    engine = Engine(engine_settings(store.path, **(settings or {})))
    await engine.start()
    try:
        yield engine, await engine.embedding_model("embedding")
    finally:
        await engine.stop()


async def embed(engine: Engine, *texts: str) -> Embeddings:
    return await engine.embed(EmbeddingRequest(model="embedding", texts=texts))


async def until_ready(model: EmbeddingModel) -> None:
    async def check() -> bool:
        return model.keeper.state is WorkerState.READY

    await eventually(check)


async def test_requests_interleave_and_each_gets_its_own(tmp_path: Path) -> None:
    async with embedding(tmp_path) as (engine, model):
        batches = [[f"{n} {'x' * (i % 9)}" for i in range(50 + 40 * n)] for n in range(12)]
        together = await asyncio.gather(*(embed(engine, *batch) for batch in batches))
        for batch, found in zip(batches, together, strict=True):
            assert found.count == len(batch)
            assert found.tokens == sum(map(len, batch))
            assert found == await embed(engine, *batch)
        assert not model._pending


async def test_a_small_request_does_not_wait_for_all_of_a_large_one(tmp_path: Path) -> None:
    async with embedding(tmp_path) as (engine, model):
        await until_ready(model)
        order: list[str] = []

        async def ask(name: str, count: int) -> None:
            await embed(engine, *[f"{name} {n}" for n in range(count)])
            order.append(name)

        await asyncio.gather(ask("large", 1500), ask("small", 1))
        assert order == ["small", "large"]


@pytest.mark.parametrize(
    ("then", "status", "code"), [("error", 500, "model_failed"), ("crash", 503, "worker_crashed")]
)
async def test_a_fault_is_one_typed_error_and_the_next_request_works(
    tmp_path: Path, then: str, status: int, code: str
) -> None:
    async with embedding(tmp_path, then=then) as (engine, model):
        with pytest.raises(MalocaError) as caught:
            await embed(engine, "bien", "x" * FAULTY)
        assert (caught.value.info.status, caught.value.info.code) == (status, code)
        assert (await embed(engine, "bien")).count == 1
        assert not model._pending


async def test_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    async with embedding(tmp_path, {"step_timeout": 0.3}, then="hang") as (engine, model):
        with pytest.raises(MalocaError) as caught:
            await embed(engine, "x" * FAULTY)
        assert caught.value.info.code == "worker_crashed"
        assert (await embed(engine, "bien")).count == 1
        assert model.keeper.restarts == 1


async def test_what_was_not_sent_yet_survives_a_crash(tmp_path: Path) -> None:
    """A request that waits for the load is not the one that the lost worker served."""
    async with embedding(tmp_path) as (engine, model):
        await until_ready(model)
        assert model.keeper.pid is not None
        os.kill(model.keeper.pid, signal.SIGKILL)

        async def noticed() -> bool:
            return model.keeper.restarts == 1

        await eventually(noticed)
        assert (await embed(engine, "espero")).count == 1


async def test_a_model_that_does_not_load_says_so(tmp_path: Path) -> None:
    async with embedding(tmp_path, load="fail") as (engine, model):
        for _ in range(2):
            with pytest.raises(MalocaError) as caught:
                await embed(engine, "hola")
            assert caught.value.info.code == "model_failed"
        assert not model._pending


async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    async with embedding(tmp_path, {"queue_limit": 2}, load="hang") as (engine, model):
        waiting = [asyncio.create_task(embed(engine, "hola")) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert len(model._pending) == 2
        with pytest.raises(Overloaded) as caught:
            await embed(engine, "hola")
        assert caught.value.info.retry_after == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not model._pending


async def test_a_client_that_leaves_ends_the_rest_of_its_batches(tmp_path: Path) -> None:
    async with embedding(tmp_path) as (engine, model):
        await until_ready(model)
        task = asyncio.create_task(embed(engine, *(["hola"] * 2000)))

        async def begun() -> bool:
            return bool(model._pending)

        await eventually(begun)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not model._pending
        assert (await embed(engine, "sigo")).count == 1


async def test_stopping_ends_what_waits_with_one_error(tmp_path: Path) -> None:
    async with embedding(tmp_path, load="hang") as (engine, model):
        waiting = asyncio.create_task(embed(engine, "hola"))
        await asyncio.sleep(0.05)
        await engine.stop()
        with pytest.raises(MalocaError) as caught:
            await waiting
        assert (caught.value.info.status, caught.value.info.code) == (503, "unavailable")
        with pytest.raises(MalocaError):
            await model.embed(EmbeddingRequest(model="embedding", texts=["hola"]))
