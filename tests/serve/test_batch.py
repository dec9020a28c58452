"""Dynamic batching: simultaneous requests share a call, and each receives its rows or its error."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from aural.core.types import FloatArray
from aural.serve.batch import Batcher, TextCache
from aural.serve.turns import OverloadedError


def rows(items: list[str]) -> FloatArray:
    if "bad" in items:
        raise ValueError("bad")
    return np.array([[len(item), ord(item[0])] for item in items], np.float32)


def batcher(executor: ThreadPoolExecutor, seen: list[int], **options: float) -> Batcher[str]:
    values = {"size": 8, "wait_s": 0.05, "max_waiting": 20} | options
    return Batcher(rows, executor, on_batch=seen.append, **values)  # type: ignore[arg-type]


def test_requests_share_calls_and_keep_their_rows() -> None:
    async def run() -> None:
        seen: list[int] = []
        with ThreadPoolExecutor(1) as executor:
            shared = batcher(executor, seen)
            words = [chr(97 + i) * (i + 1) for i in range(16)]
            results = await asyncio.gather(*(shared.embed([word]) for word in words))
            np.testing.assert_array_equal(np.concatenate(results), rows(words))
            assert seen == [8, 8]
            await shared.embed(["alone"])
            assert seen == [8, 8, 1]
            await shared.close()

    asyncio.run(run())


def test_errors_and_overload_are_raised_and_the_batcher_continues() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            shared = batcher(executor, [])
            with pytest.raises(ValueError, match="bad"):
                await shared.embed(["bad"])
            waiting = [asyncio.create_task(shared.embed(["a"])) for _ in range(20)]
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError):
                await shared.embed(["a"])
            assert len(await asyncio.gather(*waiting)) == 20
            assert (await shared.embed(["ab"])).tolist() == [[2, 97]]
            gone = asyncio.create_task(shared.embed(["c"]))
            await asyncio.sleep(0.001)
            gone.cancel()
            assert (await shared.embed(["d"])).tolist() == [[1, 100]]
            await shared.close()

    asyncio.run(run())


def test_a_large_request_is_embedded_in_parts_between_others() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            shared = batcher(executor, [], wait_s=0.0)
            order: list[str] = []

            async def ask(name: str, items: list[str]) -> None:
                np.testing.assert_array_equal(await shared.embed(items), rows(items))
                order.append(name)

            large = asyncio.create_task(ask("large", [chr(97 + i % 26) * (1 + i % 7) for i in range(1000)]))
            await asyncio.sleep(0.002)
            await ask("small", ["a"])
            await large
            assert order == ["small", "large"]
            await shared.close()

    asyncio.run(run())


def test_texts_are_embedded_once() -> None:
    async def run() -> None:
        seen: list[int] = []
        with ThreadPoolExecutor(1) as executor:
            cache = TextCache(batcher(executor, seen, wait_s=0.0), 2)
            first = await cache.embed(["a", "bb", "a"])
            assert (first.tolist(), sum(seen)) == ([[1, 97], [2, 98], [1, 97]], 2)
            assert ((await cache.embed(["bb"])).tolist(), sum(seen)) == ([[2, 98]], 2)
            await cache.embed(["ccc"])  # evicts "a", the least recently used
            await cache.embed(["bb", "ccc"])
            assert sum(seen) == 3
            await cache.embed(["a"])
            assert sum(seen) == 4

    asyncio.run(run())


def test_a_text_that_is_evicted_while_its_request_waits_is_still_answered() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            cache = TextCache(batcher(executor, [], wait_s=0.02), 2)
            await cache.embed(["a", "bb"])
            evicting = asyncio.create_task(cache.embed(["dddd", "eeeee"]))  # ends first
            mixed = asyncio.create_task(cache.embed(["a", "ccc"]))  # "a" is cached, "ccc" waits for the same batch
            await evicting
            assert (await mixed).tolist() == [[1, 97], [3, 99]]
            assert (await cache.embed(["a"])).tolist() == [[1, 97]]

    asyncio.run(run())
