"""Admit a few jobs at a time. Clients that wait take turns, so that one with many jobs does not delay the others."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field


class OverloadedError(Exception):
    """Too many requests wait already."""


@dataclass(slots=True)
class Turns:
    """A fair queue in front of `slots` workers.

    max_waiting: number of jobs that may wait. most: largest number of running jobs per kind, so that no kind of job
    occupies all workers.
    """

    slots: int
    max_waiting: int
    most: Mapping[str, int] = field(default_factory=dict)
    _queues: OrderedDict[tuple[str, str], deque[asyncio.Future[None]]] = field(default_factory=OrderedDict)
    _running: Counter[str] = field(default_factory=Counter)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return sum(len(queue) for queue in self._queues.values())

    async def acquire(self, client: str, kind: str) -> None:
        """Wait for the turn of a client; call `release` when its job ends. Raises OverloadedError."""
        if self.waiting >= self.max_waiting:
            raise OverloadedError
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault((client, kind), deque()).append(admitted)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.cancelled():
                self._drop(client, kind, admitted)
            else:
                self.release(kind)
            raise

    def release(self, kind: str) -> None:
        """Free the slot of a job."""
        self._running[kind] -= 1
        self._admit()

    def _admit(self) -> None:
        """Start waiting jobs while slots are free; the queue that was served goes to the end."""
        while self._running.total() < self.slots:
            key = next((key for key in self._queues if self._running[key[1]] < self.most.get(key[1], self.slots)), None)
            if key is None:
                return
            queue = self._queues.pop(key)
            admitted = queue.popleft()
            if queue:
                self._queues[key] = queue
            if not admitted.done():
                self._running[key[1]] += 1
                admitted.set_result(None)

    def _drop(self, client: str, kind: str, admitted: asyncio.Future[None]) -> None:
        queue = self._queues.get((client, kind))
        if queue is not None and admitted in queue:
            queue.remove(admitted)
            if not queue:
                del self._queues[client, kind]
