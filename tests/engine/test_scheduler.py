from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engine.asking import (
    chat_model,
    events_of,
    nothing_left,
    request,
    running,
    streaming,
    text_of,
)
from tests.observe import eventually

from maloca.core.errors import ContextLengthExceeded, Overloaded
from maloca.core.events import Done, Usage
from maloca.core.sampling import Sampling
from maloca.engine.chat import ChatModel
from maloca.engine.engine import Engine

SLOW = {"reply": "ab", "delay_ms": 60_000}


async def until_waiting(model: ChatModel, count: int) -> None:
    async def check() -> bool:
        return model.scheduler.waiting == count

    await eventually(check)


async def until_running(model: ChatModel, count: int) -> None:
    async def check() -> bool:
        return model.scheduler.running == count

    await eventually(check)


def tokens(count: int) -> Sampling:
    return Sampling(max_new_tokens=count)


def sized(engine: Engine, blocks: int, name: str) -> asyncio.Task[str]:
    """Ask for an answer whose reservation is exactly that many KV blocks of 16 tokens."""
    script = {"reply": name}
    prompt = len("<user\n" + f"hola #fake {script}".replace("'", '"') + ">\n<assistant\n")
    wanted = request(sampling=tokens(16 * blocks - prompt), **script)

    async def ask() -> str:
        return text_of(await events_of(engine, wanted))

    return asyncio.create_task(ask())


async def test_a_full_queue_refuses_at_once_and_says_when_to_return(tmp_path: Path) -> None:
    settings = {"queue_limit": 2, "max_running": 1}
    async with running(tmp_path, settings) as engine:
        model = await chat_model(engine)
        async with streaming(engine, request(**SLOW)):
            waiting = [asyncio.create_task(events_of(engine, request())) for _ in range(2)]
            await until_waiting(model, 2)
            with pytest.raises(Overloaded) as caught:
                await events_of(engine, request())
            info = caught.value.info
            assert info.retry_after is not None
            assert info.retry_after >= 1
            assert "2 requests" in info.message
            assert info.hint is not None
            assert "MALOCA_ENGINE_QUEUE_LIMIT" in info.hint
        assert [type(events[-1]) for events in await asyncio.gather(*waiting)] == [Done, Done]
        assert nothing_left(model)


async def test_the_queue_is_first_in_first_out(tmp_path: Path) -> None:
    async with running(tmp_path, {"max_running": 1}) as engine:
        model = await chat_model(engine)
        order: list[int] = []

        async def ask(number: int) -> None:
            await events_of(engine, request(reply="x"))
            order.append(number)

        async with streaming(engine, request(**SLOW)):
            tasks = []
            for number in range(6):
                tasks.append(asyncio.create_task(ask(number)))
                await until_waiting(model, number + 1)
        await asyncio.gather(*tasks)
        assert order == list(range(6))


async def test_a_model_runs_no_more_at_a_time_than_its_worker_can(tmp_path: Path) -> None:
    async with running(tmp_path, {"max_running": 8}, max_running=2) as engine:
        model = await chat_model(engine)
        tasks = [
            asyncio.create_task(events_of(engine, request(reply="x", first_ms=60_000)))
            for _ in range(5)
        ]
        await until_running(model, 2)
        await until_waiting(model, 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert nothing_left(model)


async def test_a_request_enters_when_its_longest_answer_fits_beside_the_others(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, blocks=20) as engine:
        model = await chat_model(engine)
        # 10 blocks of 16 tokens stay reserved: 86 tokens of prompt and 74 of answer.
        first = sized(engine, 10, "a")
        assert await first == "a"
        holder = request(sampling=tokens(40), **SLOW)
        async with streaming(engine, holder):
            held = model.scheduler.blocks_used
            assert 0 < held < 20
            large = sized(engine, 20, "large")
            await until_waiting(model, 1)
            small = sized(engine, 20 - held, "small")
            await until_waiting(model, 2)
            # First in, first out: nobody overtakes, or a large request might wait for ever.
            assert model.scheduler.running == 1
            large.cancel()
            # The one for which there was no room leaves, so the small one enters at once.
            assert await small == "small"
            assert model.scheduler.blocks_used == held
        assert nothing_left(model)


async def test_a_request_that_could_never_fit_the_cache_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, blocks=8) as engine:
        await events_of(engine, request(reply="x", sampling=tokens(10)))
        with pytest.raises(ContextLengthExceeded, match="128"):
            await events_of(engine, request("x" * 100, sampling=tokens(50)))


async def test_what_waited_for_the_load_is_measured_against_the_loaded_model(
    tmp_path: Path,
) -> None:
    """Before the first load only the manifest's context length is known."""
    async with running(tmp_path, blocks=8, load_ms=200) as engine:
        events = await events_of(engine, request("x" * 100, sampling=tokens(50)))
        assert events[-1].error.code == "context_length_exceeded"  # type: ignore[union-attr] - it failed
        assert nothing_left(await chat_model(engine))


async def test_an_answer_without_a_limit_goes_to_the_end_of_the_loaded_context(
    tmp_path: Path,
) -> None:
    """Also the first one, which was accepted before the KV cache's size was known."""
    endless = Sampling(max_new_tokens=None, ignore_eos=True)
    async with running(tmp_path, blocks=8, load_ms=200) as engine:
        for _ in range(2):
            *_, usage, done = await events_of(engine, request(sampling=endless))
            assert isinstance(usage, Usage)
            assert isinstance(done, Done)
            assert (usage.total_tokens, done.finish_reason) == (8 * 16, "length")


@pytest.mark.parametrize("where", ["queue", "worker"])
async def test_leaving_frees_the_place_at_once(tmp_path: Path, where: str) -> None:
    async with running(tmp_path, {"max_running": 1}) as engine:
        model = await chat_model(engine)
        running_task = asyncio.create_task(events_of(engine, request(**SLOW)))
        await until_running(model, 1)
        waiting_task = asyncio.create_task(events_of(engine, request(**SLOW)))
        await until_waiting(model, 1)
        leaving, staying = (
            (waiting_task, running_task) if where == "queue" else (running_task, waiting_task)
        )
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert (model.scheduler.running, model.scheduler.waiting) == (1, 0)
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
        assert nothing_left(model)


async def test_a_conversation_longer_than_the_context_is_refused_with_limit_and_count(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, context_length=100) as engine:
        with pytest.raises(ContextLengthExceeded) as caught:
            await events_of(engine, request("x" * 100, sampling=tokens(1)))
        assert "119 tokens" in caught.value.info.message
        assert "100 in all" in caught.value.info.message
        with pytest.raises(ContextLengthExceeded, match="80 new ones"):
            await events_of(engine, request("x" * 10, sampling=tokens(80)))
        exactly = await events_of(
            engine, request("x" * 10, sampling=Sampling(max_new_tokens=71, ignore_eos=True))
        )
        assert exactly[-2].completion_tokens == 71  # type: ignore[union-attr] - usage


async def test_parallel_streams_get_their_own_text_each(tmp_path: Path) -> None:
    async with running(tmp_path, {"queue_limit": 200, "max_running": 16}) as engine:
        replies = [f"respuesta número {number} 🔥 ɨ́" for number in range(100)]
        answers = await asyncio.gather(
            *(
                events_of(engine, request(reply=reply, first_ms=n % 7))
                for n, reply in enumerate(replies)
            )
        )
        assert [text_of(events) for events in answers] == replies
        assert nothing_left(await chat_model(engine))


async def test_a_reader_that_does_not_read_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with running(tmp_path) as engine, streaming(engine, request(reply="a" * 200)) as stalled:
        for number in range(5):
            assert text_of(await events_of(engine, request(reply=f"n{number}"))) == f"n{number}"
        rest = [event async for event in stalled]
        assert text_of(rest) == "a" * 199


async def test_sixty_four_clients_that_leave_midway_leave_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path, {"queue_limit": 64}) as engine:
        model = await chat_model(engine)

        async def leave() -> None:
            async with streaming(engine, request(reply="a" * 50, delay_ms=1), deltas=3):
                pass

        await asyncio.gather(*(leave() for _ in range(64)))
        assert nothing_left(model)
        assert text_of(await events_of(engine, request(reply="sigo aquí"))) == "sigo aquí"
        assert model.keeper.restarts == 0
