"""A worker process and both ends of its pipe."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import fake_store
from tests.observe import eventually

from maloca.engine.settings import EngineSettings
from maloca.engine.spec import model_spec
from maloca.engine.workers.connection import WorkerConnection
from maloca.engine.workers.frames import (
    MAX_FRAME,
    Add,
    Cancel,
    Embed,
    Embedded,
    FromWorker,
    GenerationParams,
    Load,
    LoadFailed,
    ModelSpec,
    Ready,
    Step,
    pack,
)

pytestmark = pytest.mark.process


def spec_of(root: Path, name: str = "default", **options: Any) -> ModelSpec:
    store = fake_store(root, **options)
    return model_spec(store.get(name), EngineSettings.load(models_dir=store.path))


def params(**more: Any) -> GenerationParams:
    usual: dict[str, Any] = {"max_new_tokens": 50, "temperature": 1, "top_p": 1, "seed": 1}
    return GenerationParams(**(usual | more))


@pytest.fixture
async def worker() -> AsyncIterator[WorkerConnection]:
    connection = await WorkerConnection.spawn()
    yield connection
    await connection.kill()


async def tokens_of(frames: AsyncIterator[FromWorker], request_id: int) -> list[int]:
    """Return the tokens of one request, up to its end."""
    tokens: list[int] = []
    async for frame in frames:
        assert isinstance(frame, Step)
        for output in frame.outputs:
            if output.id == request_id:
                tokens += output.tokens
                if output.finish:
                    return tokens
    pytest.fail("the worker ended")


async def test_a_worker_loads_answers_and_ends_with_its_pipe(
    worker: WorkerConnection, tmp_path: Path
) -> None:
    worker.send(Load(spec_of(tmp_path)))
    async with aclosing(worker.frames()) as frames:
        ready = await anext(frames)
        assert isinstance(ready, Ready)
        assert ready.capacity.device == "fake"
        # An id that is not there may just have ended.
        worker.send(Cancel(99))
        prompt = list(b'<|im_start|>user #fake {"reply": "hola"}')
        worker.send(Add(1, prompt, params()))
        worker.send(Add(2, prompt, params(max_new_tokens=2)))
        assert bytes((await tokens_of(frames, 1))[:-1]) == b"hola"
        worker.send(Add(3, prompt, params()))
        worker.send(Cancel(3))
        worker.send(Add(4, prompt, params(max_new_tokens=1)))
        assert bytes(await tokens_of(frames, 4)) == b"h"
    assert await worker.close() == 0


async def test_a_model_that_does_not_load_ends_the_worker(
    worker: WorkerConnection, tmp_path: Path
) -> None:
    worker.send(Load(spec_of(tmp_path, load="fail")))
    async with aclosing(worker.frames()) as frames:
        found = [frame async for frame in frames]
    assert [type(frame) for frame in found] == [LoadFailed]
    assert "told to fail" in found[0].message
    assert await worker.close() == 1


async def test_texts_and_generations_do_not_meet(worker: WorkerConnection, tmp_path: Path) -> None:
    worker.send(Load(spec_of(tmp_path, "embedding")))
    async with aclosing(worker.frames()) as frames:
        assert isinstance(await anext(frames), Ready)
        worker.send(Embed(1, [[1, 2], [3]]))
        embedded = await anext(frames)
        assert isinstance(embedded, Embedded)
        assert len(embedded.vectors) == 2 * 8 * 4
        worker.send(Add(2, [1], params()))
        assert [frame async for frame in frames] == []
    assert await worker.close() != 0


async def test_a_worker_that_is_told_nonsense_ends(worker: WorkerConnection) -> None:
    worker._stdin.write((5).to_bytes(4, "little") + b"\xc1oops")
    async with aclosing(worker.frames()) as frames:
        assert [frame async for frame in frames] == []
    await worker.close()


async def test_ctrl_c_is_the_engines_to_hear(worker: WorkerConnection, tmp_path: Path) -> None:
    worker.send(Load(spec_of(tmp_path)))
    async with aclosing(worker.frames()) as frames:
        assert isinstance(await anext(frames), Ready)
        os.kill(worker.pid, signal.SIGINT)
        worker.send(Add(1, [1, 2, 3], params(max_new_tokens=1)))
        assert len(await tokens_of(frames, 1)) == 1


async def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    worker = await WorkerConnection.spawn()
    worker.send(Load(spec_of(tmp_path, load="hang")))
    assert await worker.close(grace=0.2) == -signal.SIGKILL
    # Whoever speaks to a worker that is gone learns it from `frames`.
    worker.send(Cancel(1))
    assert await worker.kill() == -signal.SIGKILL


SAID = {
    "nothing": b"",
    "half a length": b"\x01\x00",
    "half a frame": pack(Step([]))[:-1],
    "no frame": (4).to_bytes(4, "little") + b"\xc1\xc1\xc1\xc1",
    "another frame": (6).to_bytes(4, "little") + b"\x81\xa4type",
    "a frame too large": (MAX_FRAME + 1).to_bytes(4, "little") + b"x",
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
async def test_nonsense_from_a_worker_ends_its_frames(said: bytes) -> None:
    good = pack(Step([]))
    program = f"import sys; sys.stdout.buffer.write({good + said!r}); sys.stdout.flush()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=PIPE, stdout=PIPE
    )
    worker = WorkerConnection(process)
    async with aclosing(worker.frames()) as frames:
        assert [frame async for frame in frames] == [Step([])]
    await worker.close()


PARENT = """
import asyncio
from maloca.engine.workers.connection import WorkerConnection

async def main():
    worker = await WorkerConnection.spawn()
    print(worker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_worker_outlives_an_engine_that_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    await parent.wait()

    async def gone() -> bool:
        return not psutil.pid_exists(pid)

    await eventually(gone)


def test_what_libraries_print_stays_out_of_the_frames(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from maloca.engine.workers.channel import Channel\n"
        "from maloca.engine.workers.frames import Step\n"
        "channel = Channel.take_over_stdio()\n"
        "print('from Python', flush=True)\n"
        "os.write(1, b'from C')\n"
        "channel.send(Step([]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.stdout == pack(Step([]))
    assert b"from Python" in done.stderr
    assert b"from C" in done.stderr
