"""Sections `decode` and `shards` of bench/data.py: reading, resampling, sharding compared with libsndfile and soxr.

Ours and the bare calls run in turn on the same sounds in one process; what counts is the ratio of their CPU time
(median over rounds), which a busy machine hardly moves. 1.00 = nothing is added to the bare limit.
"""

from __future__ import annotations

import io
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE_HZ, SOUND_S, COUNT = 44_100, 10.0, 12
FORMATS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "ogg": ("OGG", "VORBIS")}
Rows = list[tuple[str, float, str]]
Work = Callable[[], int]


def decode(seconds: float) -> Rows:
    """Time `audio.io.read` against soundfile.read, and to 32 kHz mono against soundfile.read and soxr.resample."""
    from aural.audio import io as audio
    from aural.audio.resample import QUALITY

    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        for channels in (1, 2):
            for suffix, (container, subtype) in FORMATS.items():
                paths = _sounds(Path(folder), suffix, container, subtype, channels)

                def bare(paths: list[Path] = paths) -> int:
                    return sum(len(soundfile.read(path, dtype="float32", always_2d=True)[0]) for path in paths)

                def ours(paths: list[Path] = paths) -> int:
                    return sum(audio.read(path).frames for path in paths)

                def bare_32k(paths: list[Path] = paths) -> int:
                    total = 0
                    for path in paths:
                        samples = soundfile.read(path, dtype="float32", always_2d=True)[0]
                        samples = samples[:, 0] if samples.shape[1] == 1 else (samples[:, 0] + samples[:, 1]) * 0.5
                        total += len(soxr.resample(samples, RATE_HZ, 32_000, quality=QUALITY))
                    return total

                def ours_32k(paths: list[Path] = paths) -> int:
                    return sum(audio.read(path, sample_rate_hz=32_000, mono=True).frames for path in paths)

                name = f"decode, {suffix}, {channels} ch"
                rows += _beside(f"{name}: as it is", ours, bare, COUNT, seconds)
                rows += _beside(f"{name}: to 32 kHz mono", ours_32k, bare_32k, COUNT, seconds)
    return rows


def shards(seconds: float) -> Rows:
    """Time writing and streaming of shards against the codec calls, and streaming bytes against reading the file."""
    from aural.data.manifest import Row, from_rows
    from aural.data.shards import ShardConfig, write_shards
    from aural.data.stream import ShardStream, StreamConfig

    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = _sounds(Path(folder), "wav", "WAV", "PCM_16", 1)
        manifest = from_rows((Row(path=p.name, source="bench", split="train", captions=["x"]) for p in paths), folder)
        for codec, container, subtype in (("flac", "FLAC", "PCM_16"), ("opus", "OGG", "OPUS")):
            numbers = iter(range(1 << 30))

            def write(codec: str = codec, numbers: Iterator[int] = numbers) -> int:
                out = f"{folder}/{codec}-{next(numbers)}"
                return write_shards(manifest, out, ShardConfig(codec=codec), jobs=1).samples  # type: ignore[arg-type]

            def bare_write(container: str = container, subtype: str = subtype) -> int:
                return len([_encoded(path, container, subtype) for path in paths])

            rows += _beside(f"shards, {codec}: write", write, bare_write, COUNT, seconds)
            out = f"{folder}/{codec}-0"
            write_shards(manifest, out, ShardConfig(codec=codec), jobs=1)  # type: ignore[arg-type]
            with tarfile.open(f"{out}/shard-000000.tar") as tar:
                sounds = [tar.extractfile(m).read() for m in tar.getmembers() if not m.name.endswith("json")]  # type: ignore[union-attr]

            def stream(out: str = out) -> int:
                return sum(1 for _ in ShardStream(StreamConfig(shards=(out,))))

            def bare_stream(sounds: list[bytes] = sounds) -> int:
                return sum(soundfile.read(io.BytesIO(sound), dtype="float32")[1] > 0 for sound in sounds)

            def raw(out: str = out) -> int:
                return sum(1 for _ in ShardStream(StreamConfig(shards=(out,), decode=False)))

            def bare_raw(out: str = out) -> int:
                return len(Path(f"{out}/shard-000000.tar").read_bytes())

            rows += _beside(f"shards, {codec}: stream, decoded", stream, bare_stream, COUNT, seconds)
            rows += _beside(f"shards, {codec}: stream, bytes", raw, bare_raw, COUNT, seconds)
    return rows


def _encoded(path: Path, container: str, subtype: str) -> bytes:
    samples, rate = soundfile.read(path, dtype="int16")
    if subtype == "OPUS":
        samples, rate = soxr.resample(samples.astype(np.float32) / 32_768, rate, 48_000), 48_000
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    return stream.getvalue()


def _sounds(folder: Path, suffix: str, container: str, subtype: str | None, channels: int) -> list[Path]:
    """COUNT files of 10 s of falling noise, as compressible as sounds are."""
    generator = np.random.default_rng(0)
    frames = round(SOUND_S * RATE_HZ)
    paths = []
    for number in range(COUNT):
        noise = generator.standard_normal((frames, channels))
        noise = np.cumsum(noise, axis=0)
        noise -= np.linspace(0, 1, frames)[:, None] * noise[-1]
        path = folder / f"{number}-{channels}.{suffix}"
        soundfile.write(path, 0.5 * noise / np.abs(noise).max(), RATE_HZ, format=container, subtype=subtype)
        paths.append(path)
    return paths


def _beside(what: str, ours: Work, bare: Work, items: int, seconds: float) -> Rows:
    """Ours a second of CPU, the bare limit, and the share of the limit that is reached."""
    ours(), bare()
    mine, limit = [], []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(mine) < 5:
        mine.append(_cpu(ours))
        limit.append(_cpu(bare))
    a, b = statistics.median(mine), statistics.median(limit)
    return [
        (f"{what}", items / a, "clips of 10 s / s of CPU"),
        (f"{what}: bare limit", items / b, "clips of 10 s / s of CPU"),
        (f"{what}: share of the limit", b / a, ""),
    ]


def _cpu(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
