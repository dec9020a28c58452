"""The process that decodes foreign sounds: `python -m aural.serve.decode_worker MEMORY_MIB`.

It reads jobs from stdin and writes answers to stdout, both as a JSON line followed by bytes. It may not write files,
may not grow past its memory, and is ended by its parent when a job takes too long; so whatever a broken or hostile file
does to a decoder happens here.
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
from aural.search.source import opened

BLOCK_S = 10.0


def confine(memory_mib: int) -> None:
    """No new files' content, no core dumps, few open files, and `memory_mib` on top of what is mapped now."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = mapped + (memory_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def decode(job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """The sound of a job as mono float32 bytes with its rate; a job names an address, or its bytes follow it."""
    if job["path"] is None:
        return _decode(job, payload)
    with opened(job["path"]) as source:
        return _decode(job, source)


def _decode(job: dict[str, Any], source: Any) -> tuple[dict[str, Any], bytes]:
    start_s, most_s, parts, have_s = job["start_s"], job["most_s"], [], 0.0
    for block in blocks(source, BLOCK_S, sample_rate_hz=job["sample_rate_hz"]):
        have_s += block.duration_s
        if have_s <= start_s:
            continue
        parts.append(block.samples[0])
        skipped_s = have_s - sum(part.size for part in parts) / block.sample_rate_hz
        if have_s - max(start_s, skipped_s) > most_s:
            if not job["cut"]:
                raise AudioError(f"the sound is longer than {most_s:g} s; cut it")
            break
    if not parts:
        raise AudioError(f"the sound holds no samples after {start_s:g} s")
    rate = block.sample_rate_hz
    samples = np.concatenate(parts)
    first = round((start_s - (have_s - samples.size / rate)) * rate) if start_s else 0
    samples = samples[max(first, 0) :][: round(most_s * rate)]
    return {"sample_rate_hz": rate}, np.ascontiguousarray(samples, np.float32).tobytes()


def answer(job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Like `decode`, with what a sound does wrong as a sentence."""
    try:
        return decode(job, payload)
    except AuralError as error:
        return {"error": str(error).replace(f"<{len(payload)} bytes>", "the upload")}, b""
    except MemoryError:
        return {"error": "the sound needs more memory than a sound may take"}, b""
    except Exception as error:  # a decoder's own failure: the file's fault as far as anyone outside can tell
        return {"error": f"the sound cannot be decoded ({type(error).__name__})"}, b""


def main(memory_mib: int, jobs: BinaryIO, answers: BinaryIO) -> None:
    import contextlib

    with contextlib.suppress(ImportError):
        import av  # noqa: F401  # mapped before the limit is set
    import soxr  # noqa: F401

    confine(memory_mib)
    while line := jobs.readline():
        job = json.loads(line)
        payload = jobs.read(job["size"])
        head, body = answer(job, payload)
        answers.write(json.dumps(head | {"size": len(body)}).encode() + b"\n" + body)
        answers.flush()


if __name__ == "__main__":
    # Decoders that print to stdout must not speak in the parent's protocol.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(int(sys.argv[1]), sys.stdin.buffer, out)
