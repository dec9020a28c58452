"""Decode in separate processes: a pool of `decode_worker`s that replaces those that a sound kills or stalls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

import numpy as np

from aural.core.errors import AudioError
from aural.core.types import Clip

JOBS_PER_WORKER = 500
STREAM_LIMIT = 1 << 20


class OverloadedError(Exception):
    """Too many requests wait already."""


class DecodePool:
    """Up to `workers` processes that decode sounds; `decode` waits for an idle one."""

    def __init__(self, workers: int, memory_mib: int, timeout_s: float, max_waiting: int) -> None:
        self._memory_mib = memory_mib
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._workers = workers
        self.waiting = 0
        self.ended = 0  # workers that were ended by a sound
        self._idle: asyncio.Queue[_Worker | None] = asyncio.Queue()
        for _ in range(workers):
            self._idle.put_nowait(None)

    async def decode(
        self,
        source: Any,
        *,
        sample_rate_hz: int | None,
        max_s: float,
        start_s: float = 0.0,
        cut: bool = False,
    ) -> Clip:
        """Return the mono sound of an upload (an object with `async read()`) or of an address.

        sample_rate_hz: None keeps the rate of the sound. cut: cut a sound that is longer than `max_s`.

        Raises AudioError if the sound cannot be decoded, lasts longer than `max_s` (unless `cut`), or takes too much
        memory or time, and OverloadedError if too many wait for a worker.
        """
        worker = await self._idle_worker()
        try:
            if worker is None or not worker.alive:
                worker = await _Worker.start(self._memory_mib)
            path = source if isinstance(source, str) else None
            payload = b"" if path is not None else await source.read()
            job = {"path": path, "sample_rate_hz": sample_rate_hz, "max_s": max_s, "start_s": start_s, "cut": cut}
            head, body = await self._ask(worker, job, payload)
        except BaseException:  # also if the client left: the worker's late answer must not reach the next job
            if worker is not None:
                await worker.end()
            self._idle.put_nowait(None)
            raise
        if worker.jobs >= JOBS_PER_WORKER:
            await worker.end()
            self._idle.put_nowait(None)
        else:
            self._idle.put_nowait(worker)
        if "error" in head:
            raise AudioError(head["error"])
        return Clip(np.frombuffer(body, np.float32)[None], int(head["sample_rate_hz"]))

    async def _idle_worker(self) -> _Worker | None:
        if self.waiting >= self._max_waiting:
            raise OverloadedError
        self.waiting += 1
        try:
            return await self._idle.get()
        finally:
            self.waiting -= 1

    async def _ask(self, worker: _Worker, job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await worker.ask(job, payload)
        except (TimeoutError, OSError, EOFError, ValueError, asyncio.IncompleteReadError) as error:
            self.ended += 1
            late = isinstance(error, TimeoutError)
            reason = f"took longer than {self._timeout_s:g} s" if late else "ended the decoder"
            raise AudioError(f"the sound cannot be decoded: it {reason}") from None

    async def close(self) -> None:
        """End all workers, also busy ones."""
        for _ in range(self._workers):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s + 1):
                    worker = await self._idle.get()
                if worker is not None:
                    await worker.end()


class _Worker:
    """One process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.jobs = 0

    @classmethod
    async def start(cls, memory_mib: int) -> _Worker:
        overrides = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "AURAL_TOKEN": ""}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aural.serve.decode_worker", str(memory_mib)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=STREAM_LIMIT,
            env=os.environ | overrides,
            start_new_session=True,
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        self.jobs += 1
        stdin.write(json.dumps(job | {"size": len(payload)}).encode() + b"\n")
        stdin.write(payload)
        await stdin.drain()
        line = await stdout.readline()
        if not line:
            raise EOFError
        head = json.loads(line)
        return head, await stdout.readexactly(head["size"])

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
