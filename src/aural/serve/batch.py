"""Embed in dynamic batches: requests that arrive within a few milliseconds share one call of the model."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

import numpy as np

from aural.core.errors import AuralError
from aural.core.types import FloatArray
from aural.serve.turns import OverloadedError

T = TypeVar("T")


class Batcher(Generic[T]):
    """A queue that collects items for up to `wait_s` or until `size`, embeds them in one call and returns the rows.

    A request with more than `size` items puts them into the queue in parts, so that others are embedded in between.
    max_waiting: number of requests that may wait. on_batch: receives the size of every batch.
    """

    def __init__(
        self,
        embed: Callable[[list[T]], FloatArray],
        executor: Executor,
        *,
        size: int,
        wait_s: float,
        max_waiting: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._embed = embed
        self._executor = executor
        self._size = size
        self._wait_s = wait_s
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._waiting = 0
        self._queue: asyncio.Queue[tuple[T, asyncio.Future[FloatArray]]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def embed(self, items: Sequence[T]) -> FloatArray:
        """Return unit rows (N, E).

        Raises OverloadedError if too many requests wait. If the embedder refuses a batch (AuralError), its items are
        embedded one by one, so that one bad item fails alone.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        if self._waiting >= self._max_waiting:
            raise OverloadedError
        self._waiting += 1
        try:
            parts = [items[start : start + self._size] for start in range(0, len(items), self._size)]
            return np.concatenate([await self._embed_part(part) for part in parts])
        finally:
            self._waiting -= 1

    async def _embed_part(self, items: Sequence[T]) -> FloatArray:
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[FloatArray]] = [loop.create_future() for _ in items]
        for item, future in zip(items, futures, strict=True):
            self._queue.put_nowait((item, future))
        return np.stack(await asyncio.gather(*futures))

    async def close(self) -> None:
        """Stop collecting; items that wait are not embedded."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            batch = await self._collect()
            batch = [(item, future) for item, future in batch if not future.done()]  # drop cancelled requests
            if batch:
                await self._embed_batch(batch)

    async def _collect(self) -> list[tuple[T, asyncio.Future[FloatArray]]]:
        """Wait for an item, then collect more until the batch is full or the time is up."""
        loop = asyncio.get_running_loop()
        batch = [await self._queue.get()]
        deadline = loop.time() + self._wait_s
        while len(batch) < self._size:
            left = deadline - loop.time()
            if self._queue.empty() and left <= 0:
                break
            try:
                async with asyncio.timeout(max(left, 0.0001)):
                    batch.append(await self._queue.get())
            except TimeoutError:
                break
        return batch

    async def _embed_batch(self, batch: list[tuple[T, asyncio.Future[FloatArray]]]) -> None:
        self._on_batch(len(batch))
        loop = asyncio.get_running_loop()
        try:
            rows = await loop.run_in_executor(self._executor, self._embed, [item for item, _ in batch])
            for (_, future), row in zip(batch, rows, strict=True):
                if not future.done():
                    future.set_result(row)
        except Exception as error:
            if isinstance(error, AuralError) and len(batch) > 1:
                for one in batch:
                    await self._embed_batch([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)


class TextCache:
    """A cache of the vectors of the last `size` texts, because the same words are often searched again."""

    def __init__(self, batcher: Batcher[str], size: int) -> None:
        self._batcher = batcher
        self._size = size
        self._rows: OrderedDict[str, FloatArray] = OrderedDict()

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return unit rows (N, E)."""
        # Rows are taken before the wait: another request may evict them meanwhile.
        rows = {text: self._rows[text] for text in texts if text in self._rows}
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            rows |= zip(new, await self._batcher.embed(new), strict=True)
        for text in texts:
            self._rows[text] = rows[text]
            self._rows.move_to_end(text)
        while len(self._rows) > self._size:
            self._rows.popitem(last=False)
        return np.stack([rows[text] for text in texts])
