"""Measure `aural locate` on a long file: speed in processor time and wall time, and peak memory.

    python bench/locate.py --minutes 600 --model libre-small

The file is 44.1 kHz stereo FLAC of noise with a tone of one second every 10 s, written once. One thread
(`OMP_NUM_THREADS=1 taskset -c 0`) and an idle machine are needed for a claim.
"""

from __future__ import annotations

import argparse
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
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        write_long(path, arguments.minutes)
        model = aural.load(arguments.model, engine=arguments.engine, device="cpu")
        locator = Locator(model, ["a beep", "rain", "glass breaking"])
        list(locator.stream((np.full(6 * RATE_HZ, 0.01, np.float32), RATE_HZ)))  # opens the graphs
        before = peak_mib()
        busy, began = time.process_time(), time.perf_counter()
        result = locator.locate(path)
        busy, wall = time.process_time() - busy, time.perf_counter() - began
        print(
            f"{arguments.model} {arguments.engine}: {arguments.minutes:g} min, {result.duration_s / busy:.0f} times "
            f"real time in processor time, {result.duration_s / wall:.0f} in wall time; peak memory "
            f"{peak_mib():.0f} MiB ({before:.0f} before)"
        )
