"""Jobs of many clients take turns, kinds have limits, and one computation serves many requests."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from aural.serve.shared import Shared
from aural.serve.turns import OverloadedError, Turns


def test_clients_take_turns() -> None:
    async def run() -> list[str]:
        turns, order = Turns(1, 100), []

        async def job(client: str) -> None:
            await turns.acquire(client, "upload")
            order.append(client)
            await asyncio.sleep(0)
            turns.release("upload")

        greedy = [asyncio.create_task(job("greedy")) for _ in range(50)]
        await asyncio.sleep(0)
        others = [asyncio.create_task(job(name)) for name in ("a", "b")]
        await asyncio.gather(*greedy, *others)
        return order

    order = asyncio.run(run())
    assert len(order) == 52
    assert max(order.index("a"), order.index("b")) < 5


def test_no_kind_takes_all_workers() -> None:
    async def run() -> None:
        turns = Turns(2, 100, {"excerpt": 1})
        await turns.acquire("a", "excerpt")
        waiting = asyncio.create_task(turns.acquire("a", "excerpt"))
        await asyncio.sleep(0)
        await asyncio.wait_for(turns.acquire("b", "upload"), 1)
        assert not waiting.done()
        turns.release("excerpt")
        await asyncio.wait_for(waiting, 1)

    asyncio.run(run())


def test_cancelled_jobs_free_their_place() -> None:
    async def run() -> None:
        turns = Turns(1, 3)
        await turns.acquire("a", "upload")
        tasks = [asyncio.create_task(turns.acquire("a", "upload")) for _ in range(3)]
        await asyncio.sleep(0)
        assert turns.waiting == 3
        with pytest.raises(OverloadedError):
            await turns.acquire("b", "upload")
        for task in tasks[:2]:
            task.cancel()
        await asyncio.sleep(0)
        assert turns.waiting == 1
        turns.release("upload")  # admits the third, which is cancelled before it continues
        tasks[2].cancel()
        await asyncio.wait(tasks)
        await asyncio.wait_for(turns.acquire("b", "upload"), 1)

    asyncio.run(run())


def test_one_computation_for_many_requests() -> None:
    async def run() -> None:
        calls, lock = 0, threading.Lock()

        def compute() -> int:
            nonlocal calls
            assert lock.acquire(blocking=False), "two computations at once"
            calls += 1
            time.sleep(0.05)
            lock.release()
            return calls

        shared = Shared(compute, "test")
        gone = asyncio.create_task(shared.get(1))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(shared.get(1)) for _ in range(8)]
        await asyncio.sleep(0.01)
        gone.cancel()  # the computation continues for the others
        assert await asyncio.gather(*others) == [1] * 8
        assert await shared.get(1) == 1
        assert await asyncio.gather(shared.get(2), shared.get(2)) == [2, 2]
        shared.close()

    asyncio.run(run())


def test_a_failed_computation_is_repeated() -> None:
    async def run() -> None:
        results = iter([ValueError("no"), 7])

        def compute() -> int:
            result = next(results)
            if isinstance(result, Exception):
                raise result
            return int(result)

        shared = Shared(compute, "test")
        with pytest.raises(ValueError, match="no"):
            await shared.get(1)
        assert await shared.get(1) == 7
        shared.close()

    asyncio.run(run())
