"""Measure `aural locate` on a long file: speed in processor time and wall time, and peak memory.

    python bench/locate.py --minutes 600 --model libre-small

The file is 44.1 kHz stereo FLAC of noise with a tone of one second every 10 s, written once; `--file PATH` keeps it
for the next run. One thread (`OMP_NUM_THREADS=1 taskset -c 0`) and an idle machine are needed for a claim. On a machine
with other work, "fastest minute" is nearer to an idle core: the least processor time of two blocks of 30 s in a row.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

import aural
from aural.models.locate import Locator

RATE_HZ = 44_100


def write_long(path: Path, minutes: float) -> None:
    """Write the file, 10 s at a time."""
    t = np.arange(RATE_HZ) / RATE_HZ
    part = 0.02 * np.random.default_rng(0).standard_normal((10 * RATE_HZ, 2))
    part[2 * RATE_HZ : 3 * RATE_HZ] += 0.2 * np.sin(2 * np.pi * 880 * t)[:, None]
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, format="FLAC", subtype="PCM_16") as file:
        for _ in range(round(6 * minutes)):
            file.write(part)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--model", default="libre-small")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or Path(folder) / "long.flac"
        if not path.exists():
            write_long(path, arguments.minutes)
        model = aural.load(arguments.model, engine=arguments.engine, device="cpu")
        locator = Locator(model, ["a beep", "rain", "glass breaking"])
        list(locator.stream((np.full(6 * RATE_HZ, 0.01, np.float32), RATE_HZ)))  # opens the graphs
        before = peak_mib()
        marks, began = [(time.process_time(), 0.0)], time.perf_counter()
        for result in locator.stream(path):
            marks.append((time.process_time(), result.duration_s))
        busy, wall = marks[-1][0] - marks[0][0], time.perf_counter() - began
        minutes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(marks, marks[2:], strict=False) if b[1] - a[1] >= 59]
        fastest = max(minutes, default=0)
        print(
            f"{arguments.model} {arguments.engine}: {arguments.minutes:g} min, {result.duration_s / busy:.0f} times "
            f"real time in processor time (fastest minute {fastest:.0f}), {result.duration_s / wall:.0f} "
            f"in wall time, load {os.getloadavg()[0]:.0f}, {len(result.spans)} spans; peak memory {peak_mib():.0f} MiB "
            f"({before:.0f} before)"
        )
