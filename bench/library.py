"""Compare `library add` with plain embedding: the same files through `model.stream_audio` and into a library.

    python bench/library.py DIR --model libre-small --files 100 --rounds 3

Each round embeds all files both ways, in alternating order. The script prints sounds per second by wall time and by
processor time for each round, and the median ratio. Other jobs on the machine change the wall time; the processor time
shows the cost of the library.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def timed(work: Callable[[], int]) -> tuple[int, float, float]:
    """Return the result of `work`, its wall time and the processor time of this process, in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    return count, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="libre-small")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/bench-library"))
    chosen = parser.parse_args()

    import aural
    from aural.audio.find import find_sounds
    from aural.cli.library import whole_windows
    from aural.search.library import Library

    model = aural.load(chosen.model)
    sounds = find_sounds([chosen.folder]).files
    files = sounds[:: max(1, len(sounds) // chosen.files)][: chosen.files]
    seconds = sum(item.duration_s for item in model.stream_audio(files) if item.error is None)  # warm, too
    Library.create(chosen.out, model, model=chosen.model)  # imports the store: once a process, not once a file
    print(f"{len(files)} files, {seconds:.0f} s of sound, model {chosen.model}, load {os.getloadavg()[0]:.1f}")

    def bare() -> int:
        return sum(result.error is None for result in model.stream_audio(files))

    def add() -> int:
        shutil.rmtree(chosen.out, ignore_errors=True)
        window_s = whole_windows(model.window_s)
        library = Library.create(chosen.out, model, model=chosen.model, window_s=window_s)
        return sum(done.error is None for done in library.add(files, model, roots=files))

    walls, cpus = [], []
    for number in range(chosen.rounds):
        pair = [("bare", bare), ("add", add)]
        measured = {name: timed(work) for name, work in (pair if number % 2 == 0 else pair[::-1])}
        for name, (count, wall, cpu) in measured.items():
            print(f"{name:<5} {count} files, {count / wall:6.2f} files/s by wall, {count / cpu:6.2f} by processor time")
        walls.append(measured["bare"][1] / measured["add"][1])
        cpus.append(measured["bare"][2] / measured["add"][2])
    print(
        f"add at {statistics.median(walls):.1%} of bare speed by wall, {statistics.median(cpus):.1%} by processor time"
    )
    print(f"load at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
