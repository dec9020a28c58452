"""Decode untrusted sounds in a separate process: `python -m aural.serve.decode_worker MEMORY_MIB`.

The process reads jobs from stdin and writes answers to stdout, both as a JSON line followed by bytes. It cannot write
files or exceed its memory limit, and its parent ends it when a job takes too long. A broken or hostile file can
therefore affect only this process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any, BinaryIO

import numpy as np

from aural.audio.io import blocks
from aural.core.errors import AudioError, AuralError
from aural.core.types import AudioSource, FloatArray
from aural.serve.held import source_of_job

BLOCK_S = 10.0


def confine(memory_mib: int) -> None:
    """Forbid writing files and core dumps, allow few open files, and limit the memory.

    memory_mib: limit of the memory on top of what is mapped now.
    """
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = mapped + (memory_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def decode(job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Decode the sound of a job to float32 bytes (C, T), its rate and its number of channels.

    The job describes a stored sound (see `aural.serve.held.HeldFile.job`), or its bytes are the payload.
    """
    source: AudioSource = payload if job["path"] is None else source_of_job(job)
    start_s, max_s = job["start_s"], job["max_s"]
    parts: list[FloatArray] = []
    decoded_s = 0.0
    block_s, rate, mono = min(BLOCK_S, max_s), job["sample_rate_hz"], job.get("mono", True)
    for block in blocks(source, block_s, sample_rate_hz=rate, mono=mono, start_s=start_s):
        parts.append(block.samples)
        decoded_s += block.duration_s
        if decoded_s > max_s + 1e-6 and not job["cut"]:
            raise AudioError(f"the sound is longer than {max_s:g} s; shorten it")
        if decoded_s >= max_s and job["cut"]:
            break
    rate = block.sample_rate_hz
    samples = np.concatenate(parts, axis=1)[:, : round(max_s * rate)]
    return {"sample_rate_hz": rate, "channels": len(samples)}, np.ascontiguousarray(samples, np.float32).tobytes()


def answer(job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Decode like `decode`, and return every failure as an error message."""
    try:
        return decode(job, payload)
    except AuralError as error:
        return {"error": str(error).replace(f"<{len(payload)} bytes>", "the upload")}, b""
    except MemoryError:
        return {"error": "the sound needs more memory than is allowed"}, b""
    except Exception as error:  # an internal error of a decoder; the file is the likely cause
        return {"error": f"the sound cannot be decoded ({type(error).__name__})"}, b""


def main(memory_mib: int, jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer jobs until the input ends."""
    import contextlib

    with contextlib.suppress(ImportError):
        import av  # noqa: F401  # map the libraries before the limit is set
    import soxr  # noqa: F401

    confine(memory_mib)
    while line := jobs.readline():
        job = json.loads(line)
        payload = jobs.read(job["size"])
        head, body = answer(job, payload)
        answers.write(json.dumps(head | {"size": len(body)}).encode() + b"\n" + body)
        answers.flush()


if __name__ == "__main__":
    # Decoders that print to stdout must not write into the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(int(sys.argv[1]), sys.stdin.buffer, out)
