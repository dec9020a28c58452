"""Decoding in processes of their own: a pool of `decode_worker`s, replaced when a sound kills or stalls them."""

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

JOBS_A_WORKER = 500
STREAM_LIMIT = 1 << 20


class OverloadedError(Exception):
    """Too many wait already."""


class DecodePool:
    """Up to `workers` processes that decode sounds; `decode` waits for a free one."""

    def __init__(self, workers: int, memory_mib: int, timeout_s: float, max_waiting: int) -> None:
        self._memory_mib, self._timeout_s, self._max_waiting = memory_mib, timeout_s, max_waiting
        self._idle: asyncio.Queue[_Worker | None] = asyncio.Queue()
        for _ in range(workers):
            self._idle.put_nowait(None)
        self._workers, self.waiting, self.ended = workers, 0, 0

    async def decode(
        self,
        source: Any,
        *,
        sample_rate_hz: int | None,
        most_s: float,
        start_s: float = 0.0,
        cut: bool = False,
    ) -> Clip:
        """Mono sound of an upload (an object with `async read()`) or of a path, at `sample_rate_hz` or its own rate.

        AudioError: it cannot be decoded, lasts longer than `most_s` (unless `cut`), or takes too much memory or time.
        OverloadedError: too many wait for a worker.
        """
        if self.waiting >= self._max_waiting:
            raise OverloadedError
        self.waiting += 1
        try:
            worker = await self._idle.get()
        finally:
            self.waiting -= 1
        try:
            if worker is None or not worker.alive:
                worker = await _Worker.start(self._memory_mib)
            path = source if isinstance(source, str) else None
            payload = b"" if path is not None else await source.read()
            job = {"path": path, "sample_rate_hz": sample_rate_hz, "most_s": most_s, "start_s": start_s, "cut": cut}
            try:
                async with asyncio.timeout(self._timeout_s):
                    head, body = await worker.ask(job, payload)
            except (TimeoutError, OSError, EOFError, ValueError, asyncio.IncompleteReadError) as error:
                self.ended += 1
                late = isinstance(error, TimeoutError)
                why = f"took longer than {self._timeout_s:g} s" if late else "ended the decoder"
                raise AudioError(f"the sound cannot be decoded: it {why}") from None
        except BaseException:  # also a caller who went away: what the worker still writes must not reach the next job
            if worker is not None:
                await worker.end()
            self._idle.put_nowait(None)
            raise
        if worker.jobs >= JOBS_A_WORKER:
            await worker.end()
            self._idle.put_nowait(None)
        else:
            self._idle.put_nowait(worker)
        if "error" in head:
            raise AudioError(head["error"])
        return Clip(np.frombuffer(body, np.float32)[None], int(head["sample_rate_hz"]))

    async def close(self) -> None:
        """End all workers, also those at work."""
        for _ in range(self._workers):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s + 1):
                    worker = await self._idle.get()
                if worker is not None:
                    await worker.end()


class _Worker:
    """One process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process, self.jobs = process, 0

    @classmethod
    async def start(cls, memory_mib: int) -> _Worker:
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "AURAL_TOKEN": ""}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aural.serve.decode_worker", str(memory_mib)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=STREAM_LIMIT,
            env=os.environ | quiet,
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
