"""Compute a value that many requests need once per version of the library, on a separate thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """A value that is computed by one thread at a time and kept until the version changes.

    Requests that arrive meanwhile wait for the same computation. It continues when they leave.
    """

    def __init__(self, compute: Callable[[], T], name: str) -> None:
        self._compute = compute
        self._thread = ThreadPoolExecutor(1, name)
        self._value: tuple[int, T] | None = None
        self._running: asyncio.Task[T] | None = None

    async def get(self, version: int) -> T:
        """Return the value for a version of the library. Raises what the computation raises."""
        if self._value is not None and self._value[0] == version:
            return self._value[1]
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])
            if self._value is not None and self._value[0] >= version:
                return self._value[1]
        self._running = asyncio.create_task(self._run(version))
        self._running.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._running)

    async def _run(self, version: int) -> T:
        value = await asyncio.get_running_loop().run_in_executor(self._thread, self._compute)
        self._value = version, value
        return value

    def close(self) -> None:
        """Do not wait for a computation that is under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)
