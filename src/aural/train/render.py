"""What a recipe hears, made once: its clips in several augmented versions and its scenes, as shards of log-mels.

A GPU that waits for two cores to decode, resample, augment and mix learns from such shards at its own speed instead.
`folder/clips` and `folder/scenes` each appear shard by shard, whole or not at all; a stopped run goes on.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aural.audio.augment import AugmentConfig, augment
from aural.audio.io import read
from aural.audio.length import fit_shorter
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import AudioError, ConfigError, DataError
from aural.core.files import atomic_write
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, Row, read_manifest
from aural.models.clap import AudioConfig
from aural.train.config import Recipe, SourceConfig
from aural.train.draw import ITEM, ORDER, generator
from aural.train.mels import add_mel, pack
from aural.train.selected import plan_of
from aural.train.sources import SceneSource

SHARD = 500
TOLD = (
    "source", "label", "class_name", "family", "tags", "captions", "caption_label", "caption_short", "caption_detailed",
    "language", "speaker", "meta",
)  # fmt: skip


@dataclass
class Rendered:
    """What was written, and the clips that could not be read."""

    clips: int = 0
    scenes: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One shard: samples of one source, each a number (a row's, or a scene's) and a version."""

    shard: str
    config: SourceConfig
    audio: AudioConfig
    augment: AugmentConfig
    seed: int
    samples: tuple[tuple[int, int], ...]


def render(
    recipe: Recipe, out: str | Path, *, versions: int = 1, balance: float = 0.0, scenes: int = 0, jobs: int = 1
) -> Rendered:
    """Write the recipe's manifests and scenes as log-mels of its front end.

    versions: of each clip on average; the first is the clip as it is, the others are augmented as data.augment says.
    balance: a clip of a class with n clips gets versions in proportion to n ** -balance, at least one.
    A clip is kept up to twice the window, from a drawn place where it is longer. A folder that was begun for other
    sounds or settings is refused.
    """
    folder = Path(out)
    listed: list[Job] = []
    for place, config in enumerate(_sources(recipe)):
        if config.scenes and scenes:
            listed += _jobs(recipe, config, folder / "scenes", place, [(n, 0) for n in range(scenes)])
        if config.manifest:
            manifest = read_manifest(config.manifest).filter(split=config.split)
            if not len(manifest):
                raise DataError(f'{config.manifest}: holds no rows of split "{config.split}"; name another split')
            counts = _versions(manifest, versions, balance, recipe.seed)
            samples = [(n, v) for n, count in enumerate(counts) for v in range(count)]
            order = generator(recipe.seed, ORDER).permutation(len(samples))  # a shard holds sounds of all kinds
            listed += _jobs(recipe, config, folder / "clips", place, [samples[i] for i in order])
    if not listed:
        raise ConfigError("data.sources names no manifest, and no scenes were asked for: there is nothing to write")
    _claim(folder, listed)
    done = Rendered()
    todo = [job for job in listed if not Path(job.shard).is_file()]
    for job, bad in zip(todo, _run(todo, jobs), strict=True):
        done.bad += bad
        good = len(job.samples) - len(bad)
        if job.config.scenes:
            done.scenes += good
        else:
            done.clips += good
    return done


def _sources(recipe: Recipe) -> list[SourceConfig]:
    """Each manifest and split once, whatever tasks it serves, and the scenes."""
    found: dict[tuple[str, str, str], SourceConfig] = {}
    for source in recipe.data.sources:
        found.setdefault((source.manifest, source.scenes, source.split), source)
    return list(found.values())


def _versions(manifest: Manifest, versions: int, balance: float, seed: int) -> list[int]:
    """How often each clip is written."""
    names = list(manifest.column("class_name"))
    counts = Counter(names)
    weights = np.asarray([counts[name] ** -balance for name in names], np.float64)
    share = versions * weights / weights.mean() + generator(seed, ORDER, 1).uniform(size=len(names))
    return [max(1, int(n)) for n in share]


def _jobs(recipe: Recipe, config: SourceConfig, folder: Path, place: int, samples: list[tuple[int, int]]) -> list[Job]:
    parts = [tuple(samples[at : at + SHARD]) for at in range(0, len(samples), SHARD)]
    audio, change, seed = plan_of(recipe).audio, recipe.data.augment, recipe.seed
    if audio is None:
        raise ConfigError("the recipe's system reads no sounds, so there are no log-mels to write")
    return [Job(str(folder / f"{place:02d}-{i:06d}.tar"), config, audio, change, seed, p) for i, p in enumerate(parts)]


def _claim(folder: Path, listed: list[Job]) -> None:
    """Note what the folder is for; refuse one that is for something else."""
    digest, file = hashlib.sha256(), folder / "plan.json"
    for job in listed:
        digest.update(repr((Path(job.shard).name, job.config, job.audio, job.augment, job.seed, job.samples)).encode())
    plan = digest.hexdigest()
    if file.is_file() and json.loads(file.read_text()).get("plan") != plan:
        raise ConfigError(f"{folder}: holds log-mels of another recipe or other settings; name another folder")
    for job in listed:
        Path(job.shard).parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"plan": plan}) + "\n")


def _run(listed: list[Job], jobs: int) -> Iterator[list[str]]:
    if jobs == 1:
        yield from map(_write, listed)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_write, listed)


def _write(job: Job) -> list[str]:
    """One shard; returns what could not be read."""
    torch.set_num_threads(1)
    bad: list[str] = []
    front_end = _front_end(job.audio.mel.model_dump_json())
    length = round(job.audio.window_s * job.audio.sample_rate_hz)
    path = Path(job.shard)
    with atomic_write(path) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, version in job.samples:
            draw = generator(job.seed, ITEM, number, version)
            try:
                wave, told = _scene(job, number) if job.config.scenes else _clip(job, number, version, draw)
            except (AudioError, DataError) as error:
                bad.append(str(error))
                continue
            if version or job.config.scenes:
                wave = augment(wave, job.augment, draw)
            if len(wave) < length:
                wave = fit_shorter(wave, length, job.audio.shorter)
            with torch.inference_mode():
                stored = pack(front_end(torch.from_numpy(wave[None]))[0], front_end.config)
            add_mel(tar, f"{number:08d}-{version:03d}", stored, told)
    return bad


def _clip(job: Job, number: int, version: int, draw: np.random.Generator) -> tuple[FloatArray, dict[str, Any]]:
    manifest = _manifest(job.config.manifest, job.config.split)
    row: Row = manifest[number]
    longest_s, start_s = 2 * job.audio.window_s, row.start_s
    if (row.duration_s or 0.0) > longest_s and version:
        start_s += float(draw.uniform(0, row.duration_s - longest_s))
    rate, whole = job.audio.sample_rate_hz, min(row.duration_s or longest_s, longest_s)
    clip = read(manifest.file(row), sample_rate_hz=rate, mono=True, start_s=start_s, duration_s=whole)
    told = {name: getattr(row, name) for name in TOLD} | {"name": row.path}
    return clip.samples[0], told


def _scene(job: Job, number: int) -> tuple[FloatArray, dict[str, Any]]:
    item = _scenes(job.config.model_dump_json(), job.audio.model_dump_json()).item(number, np.random.default_rng(0))
    assert item.wave is not None
    words = {"captions": item.captions, "negatives": item.negatives, "negative_kinds": item.negative_kinds}
    return item.wave, {**item.facts, **words, "name": item.key}


@lru_cache(maxsize=4)
def _manifest(name: str, split: str) -> Manifest:
    return read_manifest(name).filter(split=split)


@lru_cache(maxsize=2)
def _scenes(config: str, audio: str) -> SceneSource:
    return SceneSource(SourceConfig.model_validate_json(config), AudioConfig.model_validate_json(audio))


@lru_cache(maxsize=2)
def _front_end(config: str) -> LogMel:
    return LogMel(MelConfig.model_validate_json(config))
