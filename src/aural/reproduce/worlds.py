"""Materials: what cards train and score on, built once from a corpus and shared by all cards of a run.

A world (`aural.data.worlds`) gives single items. A material is a folder of shards and test sets, built from a corpus
and from worlds and registered in `MATERIALS`. Cards name it under their key `world`.

Material "mini", from the corpus `libre-mini` (or any manifest with captions, class names and a held-out split):

    clips/*.tar      log-mels of the training clips, several versions per clip
    mixed/*.tar      log-mels of two training clips mixed into one, whose caption joins both
    scenes/*.tar     log-mels of simulated scenes of the training clips, with captions, false captions and truth
    scenes-test/     a manifest of simulated scenes of held-out clips, as waves, for the scenes-* tasks

Every part is written completely or not at all, so a build that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from aural.audio.io import read
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import AudioError, ConfigError, DataError
from aural.core.files import atomic_write, write_text
from aural.core.registry import Registry
from aural.core.types import FloatArray
from aural.data.libre.mini import cache_folder
from aural.data.manifest import Manifest, Row, read_manifest
from aural.data.simulate import Scene, SceneConfig, SceneSimulator
from aural.data.simulate.caption import Negative
from aural.data.simulate.corpus import clips_of
from aural.evaluate.data_root import DataRoot
from aural.evaluate.scenes import write_scene_set
from aural.reproduce.toys import toy_corpus
from aural.train.draw import ITEM, generator
from aural.train.mels import add_mel, pack

VERSION: Final = 1
"""Counts up when the content of a material changes."""
RATE_HZ: Final = 16_000
MEL: Final = MelConfig(sample_rate_hz=RATE_HZ, n_fft=512, hop=320, n_mels=48, fmin_hz=50, fmax_hz=8000)
"""The front end of the base recipes `small_*`, whose log-mels the shards hold."""
LONGEST_S: Final = 10.0
SHARD: Final = 250
HELD_OUT: Final = ("test", "eval-only")
SCENES: Final = SceneConfig(
    sample_rate_hz=RATE_HZ,
    duration_s=(3.0, 5.0),
    events=(1, 3),
    event_s=(0.1, 1.5),
    background_chance=0.3,
    room_chance=0.0,
    paraphrases=2,
    negatives_per_kind=2,
)


@dataclass(frozen=True)
class Size:
    """Numbers of clips and scenes to build."""

    versions: int
    """Versions of each training clip: the clip itself, then with drawn gain and noise."""
    clips: int
    """Training clips; 0: all."""
    mixed: int
    scenes: int
    test_scenes: int


FULL: Final = Size(versions=3, clips=0, mixed=3000, scenes=6000, test_scenes=600)
SMOKE: Final = Size(versions=1, clips=48, mixed=32, scenes=32, test_scenes=16)
Build = Callable[[Path, Path, Size, int], None]
MATERIALS: Registry[Build] = Registry("material")


def prepare(name: str, data: Path | None, out: Path, *, smoke: bool = False, jobs: int = 1) -> Path | None:
    """Build a material below `out/worlds` unless it is there already; return its folder (None for an empty name)."""
    if not name:
        return None
    folder_of_data = corpus_folder(data, out)
    size = SMOKE if smoke else FULL
    manifest = next((folder_of_data / f for f in ("manifest.parquet",) if (folder_of_data / f).is_file()), None)
    if manifest is None:
        raise DataError(f"{folder_of_data}: holds no manifest.parquet; build libre-mini or name its folder with --data")
    digest = hashlib.sha256(repr((VERSION, name, size, MEL, SCENES)).encode() + manifest.read_bytes()).hexdigest()
    folder = out / "worlds" / f"{name}-{digest[:12]}"
    if not (folder / "done.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        MATERIALS[name](folder_of_data, folder, size, jobs)
        write_text(folder / "done.json", json.dumps({"data": str(folder_of_data), "size": repr(size)}) + "\n")
    return folder


def corpus_folder(data: Path | None, out: Path) -> Path:
    """Return the folder of the corpus: as given, the toy corpus for "toys", or libre-mini in the cache."""
    if data is None:
        if not (cache_folder() / "manifest.parquet").is_file():
            raise ConfigError(
                "libre-mini is not in the cache: build it with `aural corpus build libre-mini`, name its folder with "
                "--data, or write --data toys for synthetic sounds"
            )
        return cache_folder()
    return toy_corpus(out / "worlds" / "toys") if str(data) == "toys" else data


def data_root(world: Path | None, data: Path | None) -> DataRoot:
    """Return where evaluation tasks find the corpus and the simulated scenes of a world."""
    if world is None:
        return DataRoot(data or ".")
    corpus = corpus_of(world)
    return DataRoot(world, {"libre": corpus, "libre-mini": corpus, "libre-scenes": world / "scenes-test"})


@MATERIALS.register("mini")
def build_mini(data: Path, folder: Path, size: Size, jobs: int) -> None:
    """Write clips, scenes and test scenes; see the top of this module."""
    manifest = read_manifest(data).filter(split="train")
    clips = min(len(manifest), size.clips) if size.clips else len(manifest)
    parts: list[tuple[Any, ...]] = []
    for first in range(0, clips * size.versions, SHARD):
        samples = range(first, min(first + SHARD, clips * size.versions))
        parts.append((write_clips, str(data), str(folder / f"clips/{first:06d}.tar"), samples, clips))
    for first in range(0, size.scenes, SHARD):
        numbers = range(first, min(first + SHARD, size.scenes))
        parts.append((write_scenes, str(data), str(folder / f"scenes/{first:06d}.tar"), numbers))
    for first in range(0, size.mixed, SHARD):
        numbers = range(first, min(first + SHARD, size.mixed))
        parts.append((write_mixed, str(data), str(folder / f"mixed/{first:06d}.tar"), numbers, clips))
    for name in ("clips", "mixed", "scenes"):
        (folder / name).mkdir(exist_ok=True)
    todo = [part for part in parts if not Path(part[2]).is_file()]
    _run(todo, jobs)
    if not (folder / "classes.json").is_file():
        labels = sorted(label for label in _simulator(str(data)).bank.events)
        write_text(folder / "classes.json", json.dumps(labels, ensure_ascii=False) + "\n")
    if not (folder / "scenes-test").is_dir():
        write_test_scenes(data, folder / "scenes-test", size.test_scenes)


def _run(parts: Sequence[tuple[Any, ...]], jobs: int) -> None:
    if jobs == 1 or len(parts) < 2:
        for function, *arguments in parts:
            function(*arguments)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with ProcessPoolExecutor(min(jobs, len(parts)), mp_context=context) as pool:
        for future in [pool.submit(function, *arguments) for function, *arguments in parts]:
            future.result()


def write_clips(data: str, file: str, samples: range, clips: int) -> None:
    """Write one shard of training clips; sample i is clip i % clips in version i // clips. Unreadable clips are left
    out. Versions above 0 have a gain of -12 to +6 dB and noise 10 to 40 dB below the clip."""
    manifest = _training_rows(data)
    order = generator(0, 1).permutation(len(manifest))
    with atomic_write(file) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            version, place = divmod(sample, clips)
            row: Row = manifest[int(order[place])]
            try:
                wave = corpus_wave(manifest, row)
            except AudioError:
                continue
            if version:
                wave = vary(wave, generator(0, ITEM, sample))
            columns = ("source", "label", "class_name", "family", "tags", "captions", "caption_label", "caption_short",
                       "caption_detailed", "language", "speaker", "meta")  # fmt: skip
            record = {name: getattr(row, name) for name in columns} | {"name": row.path}
            record["language"] = row.language or "none"  # a class of the task "language", not a missing answer
            add_mel(tar, f"{sample:07d}", log_mel(wave), record)


def write_mixed(data: str, file: str, numbers: range, clips: int) -> None:
    """Write one shard of mixtures: two clips at levels that differ by up to 6 dB, and captions "A and B" per grain."""
    manifest = _training_rows(data)
    order = generator(0, 1).permutation(len(manifest))
    with atomic_write(file) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in numbers:
            rng = generator(0, ITEM, number, 2)
            first, second = (manifest[int(order[i])] for i in rng.choice(clips, 2, replace=False))
            try:
                wave = mix(corpus_wave(manifest, first), corpus_wave(manifest, second), rng.uniform(-6, 6))
            except AudioError:
                continue
            columns = ("caption_label", "caption_short", "caption_detailed")
            captions = {name: joined(getattr(first, name), getattr(second, name)) for name in columns}
            add_mel(tar, f"{number:07d}", log_mel(wave), captions | {"name": f"{first.path} and {second.path}"})


def mix(first: FloatArray, second: FloatArray, difference_db: float) -> FloatArray:
    """Return the sum of two waves at the level of the first; the shorter one is repeated."""
    length = max(len(first), len(second))
    first, second = (np.resize(wave, length) for wave in (first, second))
    level, other = (float(np.sqrt(np.mean(np.square(wave)))) + 1e-9 for wave in (first, second))
    total = first + second * (level / other) * 10 ** (difference_db / 20)
    mixture: FloatArray = (total / np.sqrt(2.0)).astype(np.float32)
    return mixture


def joined(first: str, second: str) -> str:
    """Return two captions as one.

    >>> joined("A dog barks.", "A bell rings.")
    'A dog barks and a bell rings.'
    """
    if not first or not second:
        return first or second
    return f"{first.removesuffix('.')} and {second[:1].lower()}{second[1:]}"


def corpus_wave(manifest: Manifest, row: Row) -> FloatArray:
    """Return the first `LONGEST_S` of a clip at `RATE_HZ`, (T,)."""
    length_s = min(row.duration_s or LONGEST_S, LONGEST_S)
    clip = read(manifest.file(row), sample_rate_hz=RATE_HZ, mono=True, start_s=row.start_s, duration_s=length_s)
    return clip.samples[0]


def vary(wave: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the wave with a drawn gain and white noise."""
    level = float(np.sqrt(np.mean(np.square(wave))))
    noise = level * 10 ** (-rng.uniform(10, 40) / 20) * rng.standard_normal(len(wave))
    gain = 10 ** (rng.uniform(-12, 6) / 20)
    varied: FloatArray = (gain * (wave + noise)).astype(np.float32)
    return varied


def write_scenes(data: str, file: str, numbers: range) -> None:
    """Write one shard of scenes with captions, false captions and truth.

    `captions` hold the full caption and its paraphrases; `caption_label` lists the sounds only ("a dog and a bell").
    """
    simulator = _simulator(data)
    with atomic_write(file) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in numbers:
            scene = simulator.scene(number)
            record = scene.truth.to_facts() | {
                "name": f"scene {number}",
                "captions": [scene.caption, *scene.paraphrases],
                "caption_label": listed(scene, generator(0, ITEM, number)),
                "negatives": [negative.text for negative in scene.negatives],
                "negative_kinds": [negative.kind for negative in scene.negatives],
                "tags": sorted({event.label for event in scene.truth.events}),
            }
            add_mel(tar, f"{number:07d}", log_mel(scene.clip.samples[0]), record)


def listed(scene: Scene, rng: np.random.Generator) -> str:
    """Return the sounds of a scene in a drawn order, without time, number or loudness: "a bell and a dog barking"."""
    events = [event.phrases[0] if event.phrases else event.label for event in scene.truth.events]
    names = [events[i] for i in rng.permutation(len(events))]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def write_test_scenes(data: Path, folder: Path, count: int) -> None:
    """Write a manifest of scenes of held-out clips; false captions carry their kinds, see `kinds_of`."""
    clips = clips_of(read_manifest(data), RATE_HZ, split=HELD_OUT, longest_s=LONGEST_S)
    if len({clip.label for clip in clips}) < 4:
        raise DataError(f"{data}: its held-out splits have too few classes for scenes")
    simulator = SceneSimulator(clips, SCENES, seed=1)
    write_scene_set(simulator, folder, count, version=str(VERSION), kinds=kinds_of)


def kinds_of(negative: Negative) -> tuple[str, ...]:
    """Return the kind of a false caption, and "loudness" as well where only loudness is false."""
    false = {str(claim[0]) for claim in negative.false}
    return (negative.kind, "loudness") if false and false <= {"louder", "faint"} else (negative.kind,)


def log_mel(wave: FloatArray) -> Any:
    """Return the 16-bit log-mel (N, F) of a wave (T,)."""
    with torch.inference_mode():
        return pack(_front_end()(torch.from_numpy(np.ascontiguousarray(wave))[None])[0], MEL)


@lru_cache(maxsize=1)
def _front_end() -> LogMel:
    torch.set_num_threads(1)
    return LogMel(MEL)


@lru_cache(maxsize=2)
def _training_rows(data: str) -> Manifest:
    return read_manifest(data).filter(split="train")


@lru_cache(maxsize=2)
def _simulator(data: str) -> SceneSimulator:
    return SceneSimulator(clips_of(read_manifest(data), RATE_HZ, longest_s=LONGEST_S), SCENES, seed=0)


def corpus_of(world: Path) -> Path:
    """Return the folder of the corpus that a world was built from."""
    return Path(json.loads((world / "done.json").read_text(encoding="utf-8"))["data"])


def classes_of(world: Path) -> str:
    """Return the classes of the events of a world's training scenes as a JSON list."""
    return (world / "classes.json").read_text(encoding="utf-8").strip()
