"""Dynamic batching: requests that come within a few milliseconds share one call of the model, on one thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

import numpy as np

from aural.core.types import FloatArray
from aural.serve.sandbox import OverloadedError

T = TypeVar("T")


class Batcher(Generic[T]):
    """Collects items for up to `wait_s` or until `size`, embeds them in one call, gives each asker its rows."""

    def __init__(
        self,
        embed: Callable[[list[T]], FloatArray],
        executor: Executor,
        *,
        size: int,
        wait_s: float,
        max_waiting: int,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._embed, self._executor, self._size, self._wait_s, self._seen = embed, executor, size, wait_s, seen
        self._queue: asyncio.Queue[tuple[T, asyncio.Future[FloatArray]]] = asyncio.Queue(max_waiting)
        self._task: asyncio.Task[None] | None = None

    async def embed(self, items: Sequence[T]) -> FloatArray:
        """(N, E) unit rows. OverloadedError when too many wait; the embedder's own errors reach their asker."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        loop = asyncio.get_running_loop()
        if self._queue.maxsize - self._queue.qsize() < len(items):
            raise OverloadedError
        futures: list[asyncio.Future[FloatArray]] = [loop.create_future() for _ in items]
        for item, future in zip(items, futures, strict=True):
            self._queue.put_nowait((item, future))
        return np.stack(await asyncio.gather(*futures))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            group = [await self._queue.get()]
            until = loop.time() + self._wait_s
            while len(group) < self._size:
                left = until - loop.time()
                if self._queue.empty() and left <= 0:
                    break
                try:
                    async with asyncio.timeout(max(left, 0.0001)):
                        group.append(await self._queue.get())
                except TimeoutError:
                    break
            group = [(item, future) for item, future in group if not future.done()]  # some askers may have gone
            if not group:
                continue
            self._seen(len(group))
            try:
                rows = await loop.run_in_executor(self._executor, self._embed, [item for item, _ in group])
                for (_, future), row in zip(group, rows, strict=True):
                    if not future.done():
                        future.set_result(row)
            except Exception as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)


class TextCache:
    """The last `size` texts' vectors: people type the same words again."""

    def __init__(self, batcher: Batcher[str], size: int) -> None:
        self._batcher, self._size = batcher, size
        self._rows: OrderedDict[str, FloatArray] = OrderedDict()

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """(N, E) unit rows."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        found = dict(zip(new, await self._batcher.embed(new), strict=True)) if new else {}
        rows = np.stack([found[text] if text in found else self._rows[text] for text in texts])
        for text in texts:
            self._rows[text] = found[text] if text in found else self._rows.get(text, rows[texts.index(text)])
            self._rows.move_to_end(text)
        while len(self._rows) > self._size:
            self._rows.popitem(last=False)
        return rows
