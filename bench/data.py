"""Throughput of the data path, each part compared with the bare limit of the library below it.

    python bench/data.py                       every section
    python bench/data.py simulate --seconds 20 --clips FOLDER

A section is a function that takes the settings and returns rows (what, value, unit); it is listed in SECTIONS.
A measurement is cut into windows, of which the median and the best are printed: on a machine that others use too, the
best one is nearest to what the code can do. CPU time per item is printed next to it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import data_io

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread a process: the processes share the cores


@dataclass(frozen=True)
class Settings:
    seconds: float  # how long each measurement runs
    processes: int
    clips: Path | None  # a folder of sounds; without it, synthetic ones


Rows = list[tuple[str, float, str]]

# ---- simulate ----

SCENE_RATE_HZ = 32_000
SCENE_S = 10.0


def simulate(settings: Settings) -> Rows:
    """Scenes a second of 10 s at 32 kHz, default settings: 1 to 6 events, room in 60 %, background in 60 %."""
    from aural.data.simulate import SceneConfig, SceneSimulator, noises

    clips = [*(_folder_clips(settings.clips) if settings.clips else _made_up_clips()), *noises(SCENE_RATE_HZ)]
    rows: Rows = []
    for name, changes in (("default", {}), ("room always", {"room_chance": 1.0}), ("no room", {"room_chance": 0.0})):
        config = SceneConfig(sample_rate_hz=SCENE_RATE_HZ, duration_s=(SCENE_S, SCENE_S), **changes)
        simulator = SceneSimulator(clips, config)
        for what, make in (("plan and words only", _plan), ("scenes", _scene), ("bare limit: adding the arrays", _add)):
            if name == "default" or what == "scenes":
                rows += _in_processes(make, simulator, settings, f"simulate, {name}: {what}")
    return rows


def _plan(simulator: object, seconds: float, first: int, step: int) -> Spans:
    return _timed(lambda index: simulator.plan(index), seconds, first, step)  # type: ignore[attr-defined]


def _scene(simulator: object, seconds: float, first: int, step: int) -> Spans:
    return _timed(lambda index: simulator.scene(index), seconds, first, step)  # type: ignore[attr-defined]


def _add(simulator: object, seconds: float, first: int, step: int) -> Spans:
    """The sounds of the same scenes, scaled and added where they belong, and nothing else."""
    bank = simulator.bank.by_clip  # type: ignore[attr-defined]
    jobs = []
    for index in range(first, 100, step):
        truth = simulator.plan(index).truth  # type: ignore[attr-defined]
        parts = []
        for event in truth.events:
            for o in event.occurrences:
                start, at = round(o.clip_start_s * SCENE_RATE_HZ), round(o.onset_s * SCENE_RATE_HZ)
                length = round((o.offset_s - o.onset_s) * SCENE_RATE_HZ)
                parts.append((at, np.float32(0.1), bank[o.clip].samples[start : start + length]))
        if truth.background is not None:
            parts.append((0, np.float32(0.01), bank[truth.background.clip].samples[: round(SCENE_S * SCENE_RATE_HZ)]))
        jobs.append(parts)

    def add(index: int) -> object:
        mix = np.zeros(round(SCENE_S * SCENE_RATE_HZ), np.float32)
        for at, gain, samples in jobs[index // step % len(jobs)]:
            mix[at : at + len(samples)] += gain * samples
        return mix

    return _timed(add, seconds, first, step)


def _made_up_clips() -> list[object]:
    """240 decaying noises of 0.2 to 4 s in 60 classes."""
    from aural.data.simulate import LabelledClip

    generator = np.random.default_rng(0)
    clips: list[object] = []
    for number in range(240):
        frames = round(float(generator.uniform(0.2, 4.0)) * SCENE_RATE_HZ)
        samples = generator.standard_normal(frames) * np.exp(-3 * np.arange(frames) / frames)
        label = f"class{number % 60}"
        clips.append(LabelledClip((0.1 * samples).astype(np.float32), label, f"synthetic/{number}"))
    return clips


def _folder_clips(folder: Path) -> list[object]:
    """Every sound below a folder; the words of its name are its class."""
    from aural.audio.io import read
    from aural.core.errors import AudioError
    from aural.data.simulate import LabelledClip

    clips: list[object] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".wav", ".flac", ".ogg")):
        try:
            samples = read(path, sample_rate_hz=SCENE_RATE_HZ, mono=True).samples[0]
            label = path.stem.strip("0123456789_").replace("_", " ")
            clips.append(LabelledClip(samples, label, str(path.relative_to(folder))))
        except AudioError as error:
            print("left out:", error)
    return clips


# ---- how it is measured ----

WINDOWS = 8
Spans = list[tuple[float, float]]  # (items a second, CPU seconds an item), one for each window
Work = Callable[[object, float, int, int], Spans]


def _timed(work: Callable[[int], object], seconds: float, first: int, step: int) -> Spans:
    """Runs `work` on first, first + step, ... in windows that make up about `seconds`."""
    for index in range(first, first + 3 * step, step):
        work(index)
    spans, index = [], first
    for _ in range(WINDOWS):
        wall, cpu, count = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - wall < seconds / WINDOWS:
            work(index)
            index, count = index + step, count + 1
        spans.append((count / (time.perf_counter() - wall), (time.process_time() - cpu) / count))
    return spans


def _job(arguments: tuple[Work, object, float, int, int]) -> Spans:
    work, subject, *rest = arguments
    return work(subject, *rest)  # type: ignore[arg-type]


def _in_processes(work: Work, subject: object, settings: Settings, what: str) -> Rows:
    """Median and best window of all processes together, and the least CPU time per item took."""
    jobs = [(work, subject, settings.seconds, first, settings.processes) for first in range(settings.processes)]
    with multiprocessing.get_context("spawn").Pool(settings.processes) as pool:
        spans = np.array(pool.map(_job, jobs, chunksize=1))  # (processes, windows, 2)
    rates = spans[:, :, 0].sum(axis=0)
    return [
        (what, float(np.median(rates)), "1/s, median window"),
        (what, float(rates.max()), "1/s, best window"),
        (what, 1000 * float(np.median(spans[:, :, 1])), "ms of CPU each, median"),
        (what, 1000 * float(spans[:, :, 1].min()), "ms of CPU each, best window"),
    ]


SECTIONS: dict[str, Callable[[Settings], Rows]] = {
    "simulate": simulate,
    "decode": lambda settings: data_io.decode(settings.seconds / 10),
    "shards": lambda settings: data_io.shards(settings.seconds / 10),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--clips", type=Path, help="a folder of sounds (default: synthetic ones)")
    given = parser.parse_args()
    settings = Settings(given.seconds, given.processes, given.clips)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{platform.machine()}, {os.cpu_count()} cores, load before {load:.1f}, {given.processes} processes")
    for section in given.sections or SECTIONS:
        for what, value, unit in SECTIONS[section](settings):
            print(f"{what:60s} {value:10.2f} {unit}")


if __name__ == "__main__":
    main()
