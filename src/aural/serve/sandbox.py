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
from aural.serve.turns import OverloadedError, Turns

JOBS_PER_WORKER = 500
ATTEMPTS = 3
STREAM_LIMIT = 1 << 20


class _EndedError(Exception):
    """A decoder ended before its answer."""


class DecodePool:
    """Up to `workers` processes that decode sounds; clients that wait for one take turns.

    Parts of stored sounds leave one process to uploads, unless there is only one.
    """

    def __init__(self, workers: int, memory_mib: int, timeout_s: float, max_waiting: int) -> None:
        self._memory_mib = memory_mib
        self._timeout_s = timeout_s
        self._turns = Turns(workers, max_waiting, {"excerpt": max(1, workers - 1)})
        self._idle: list[_Worker] = []
        self._jobs: set[asyncio.Task[tuple[dict[str, Any], bytes]]] = set()
        self.ended = 0  # workers that ended during a job

    @property
    def waiting(self) -> int:
        """Number of jobs that wait for a process."""
        return self._turns.waiting

    async def decode_upload(self, upload: Any, *, client: str, sample_rate_hz: int, max_s: float) -> Clip:
        """Return the mono sound of an upload (an object with `async read()`).

        Raises AudioError if the sound cannot be decoded, lasts longer than `max_s`, or takes too much memory or time,
        and OverloadedError if too many wait for a process.
        """
        job = {"path": None, "sample_rate_hz": sample_rate_hz, "start_s": 0.0, "max_s": max_s, "cut": False}
        return await self._decode((client, "upload"), job, upload)

    async def decode_part(
        self, place: dict[str, Any], *, client: str, start_s: float, max_s: float, mono: bool = True
    ) -> Clip:
        """Return up to `max_s` seconds from `start_s` of a stored sound at its rate; errors as of `decode_upload`.

        place: where the sound is; see `aural.serve.held.HeldFile.job`.
        """
        job = place | {"sample_rate_hz": None, "start_s": start_s, "max_s": max_s, "cut": True, "mono": mono}
        return await self._decode((client, "excerpt"), job, None)

    async def _decode(self, turn: tuple[str, str], job: dict[str, Any], upload: Any) -> Clip:
        """Decode in the turn of a client. If it leaves, the process finishes the job before the slot is free again."""
        await self._turns.acquire(*turn)
        try:
            payload = b"" if upload is None else await upload.read()
        except BaseException:
            self._turns.release(turn[1])
            raise
        task = asyncio.create_task(self._attempt(job, payload))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # also if nobody waits for it
        task.add_done_callback(lambda _: self._turns.release(turn[1]))
        head, body = await asyncio.shield(task)
        if "error" in head:
            raise AudioError(head["error"])
        samples = np.frombuffer(body, np.float32).reshape(int(head["channels"]), -1)
        return Clip(samples, int(head["sample_rate_hz"]))

    async def _attempt(self, job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Ask one process, and another one if it ended: perhaps it was killed, and the sound is not the reason."""
        for _ in range(ATTEMPTS):
            with contextlib.suppress(_EndedError):
                return await self._ask(job, payload)
        raise AudioError("the sound cannot be decoded: it ended the decoder")

    async def _ask(self, job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            worker = self._take() or await _Worker.start(self._memory_mib)
        except OSError:  # the system allows no more processes or open files
            raise OverloadedError from None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await worker.ask(job, payload)
        except TimeoutError:
            self.ended += 1
            await worker.end()
            raise AudioError(f"the sound cannot be decoded: it took longer than {self._timeout_s:g} s") from None
        except (OSError, EOFError, ValueError) as error:
            self.ended += 1
            await worker.end()
            raise _EndedError from error
        except BaseException:
            await worker.end()
            raise
        if worker.jobs >= JOBS_PER_WORKER:
            await worker.end()
        else:
            self._idle.append(worker)
        return answer

    def _take(self) -> _Worker | None:
        """Return an idle process that is alive."""
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
        return None

    async def close(self) -> None:
        """End all processes, also busy ones."""
        for task in list(self._jobs):
            task.cancel()
        if self._jobs:
            await asyncio.wait(list(self._jobs))
        while self._idle:
            await self._idle.pop().end()


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
