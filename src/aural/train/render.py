"""Precompute the audio input of a recipe: augmented versions of its clips, and its scenes, as shards of log-mels.

Training from these shards does not wait for the CPU to decode, resample, augment and mix. Each shard in `folder/clips`
and `folder/scenes` is written atomically, so an interrupted run can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aural.audio.augment import AugmentConfig, augment
from aural.audio.io import read
from aural.audio.length import fit_shorter
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import AudioError, ConfigError, DataError
from aural.core.files import atomic_write, write_text
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, Row, read_manifest
from aural.models.clap import AudioConfig
from aural.train.config import Recipe, SourceConfig
from aural.train.draw import ITEM, ORDER, generator
from aural.train.mels import add_mel, pack
from aural.train.selected import plan_of
from aural.train.sources import SceneSource

SHARD = 500
STORED_COLUMNS = (
    "source", "label", "class_name", "family", "tags", "captions", "caption_label", "caption_short", "caption_detailed",
    "language", "speaker", "meta",
)  # fmt: skip


@dataclass
class Rendered:
    """The number of written samples, and the errors of clips that could not be read."""

    clips: int = 0
    scenes: int = 0
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One shard to write. A sample of its source is (row or scene number, version)."""

    shard: str
    config: SourceConfig
    audio: AudioConfig
    augment: AugmentConfig
    seed: int
    samples: tuple[tuple[int, int], ...]
    shortest_s: float | None = None
    """Shorter clips are filled to this length; None: to the window."""


def render(
    recipe: Recipe, out: str | Path, *, versions: int = 1, balance: float = 0.0, scenes: int = 0, jobs: int = 1
) -> Rendered:
    """Write the clips of the recipe's manifests, and its scenes, as log-mels of its front end.

    At most twice the window length is stored per clip. A shorter clip is filled to the window, or keeps its length with
    `data.batching: lengths`. Version 0 of a longer clip starts at the beginning, and other
    versions start at a random position.

    versions: Average number of versions per clip. Version 0 is not augmented; the others follow `data.augment`.
    balance: A clip of a class with n clips gets a number of versions proportional to n ** -balance, at least one.
    scenes: Number of scenes per source of scenes.
    jobs: Number of processes.

    Raises:
        ConfigError: there is nothing to write, or the folder belongs to another recipe or other settings.
        DataError: a manifest is unreadable or has no rows of the split.
    """
    folder = Path(out)
    listed: list[Job] = []
    for place, config in enumerate(_sources(recipe)):
        if config.scenes and scenes:
            listed += _jobs(recipe, config, folder / "scenes", place, [(n, 0) for n in range(scenes)])
        if config.manifest:
            manifest = read_manifest(config.manifest).filter(split=config.split)
            if not len(manifest):
                raise DataError(f'{config.manifest}: has no rows of split "{config.split}"; name another split')
            counts = _versions(manifest, versions, balance, recipe.seed)
            samples = [(n, v) for n, count in enumerate(counts) for v in range(count)]
            order = generator(recipe.seed, ORDER).permutation(len(samples))  # mix classes in every shard
            listed += _jobs(recipe, config, folder / "clips", place, [samples[i] for i in order])
    if not listed:
        raise ConfigError(
            "data.sources has no manifest and the number of scenes is 0, so there is nothing to write; "
            "add a manifest, or set the number of scenes"
        )
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
    """Return the sources of the recipe, with each manifest and split once even if several tasks use it."""
    sources: dict[tuple[str, str, str], SourceConfig] = {}
    for source in recipe.data.sources:
        sources.setdefault((source.manifest, source.scenes, source.split), source)
    return list(sources.values())


def _versions(manifest: Manifest, versions: int, balance: float, seed: int) -> list[int]:
    """Return the number of versions of each clip."""
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
    batching = recipe.data.batching
    shortest_s = batching.shortest_s if batching.name == "lengths" else None
    return [
        Job(str(folder / f"{place:02d}-{i:06d}.tar"), config, audio, change, seed, p, shortest_s)
        for i, p in enumerate(parts)
    ]


def _claim(folder: Path, listed: list[Job]) -> None:
    """Record a digest of the jobs in the folder; raise ConfigError if it contains the digest of other jobs."""
    digest = hashlib.sha256()
    file = folder / "plan.json"
    for job in listed:
        digest.update(repr((Path(job.shard).name, job.config, job.audio, job.augment, job.seed, job.samples)).encode())
        if job.shortest_s is not None:
            digest.update(repr(job.shortest_s).encode())
    plan = digest.hexdigest()
    if file.is_file() and json.loads(file.read_text()).get("plan") != plan:
        raise ConfigError(f"{folder}: contains log-mels of another recipe or other settings; name another folder")
    write_text(file, json.dumps({"plan": plan}) + "\n", parents=True)


def _run(listed: list[Job], jobs: int) -> Iterator[list[str]]:
    if jobs == 1:
        yield from map(_write, listed)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_write, listed)


def _write(job: Job) -> list[str]:
    """Write one shard and return the errors of clips that could not be read."""
    torch.set_num_threads(1)
    bad: list[str] = []
    front_end = _front_end(job.audio.mel.model_dump_json())
    seconds = job.audio.window_s if job.shortest_s is None else min(job.shortest_s, job.audio.window_s)
    length = round(seconds * job.audio.sample_rate_hz)
    path = Path(job.shard)
    with atomic_write(path, parents=True) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, version in job.samples:
            draw = generator(job.seed, ITEM, number, version)
            try:
                wave, record = _scene(job, number) if job.config.scenes else _clip(job, number, version, draw)
            except (AudioError, DataError) as error:
                bad.append(str(error))
                continue
            if version or job.config.scenes:
                wave = augment(wave, job.augment, draw)
            if len(wave) < length:
                wave = fit_shorter(wave, length, job.audio.shorter)
            with torch.inference_mode():
                stored = pack(front_end(torch.from_numpy(wave[None]))[0], front_end.config)
            add_mel(tar, f"{number:08d}-{version:03d}", stored, record)
    return bad


def _clip(job: Job, number: int, version: int, draw: np.random.Generator) -> tuple[FloatArray, dict[str, Any]]:
    manifest = _manifest(job.config.manifest, job.config.split)
    row: Row = manifest[number]
    longest_s, start_s = 2 * job.audio.window_s, row.start_s
    if (row.duration_s or 0.0) > longest_s and version:
        start_s += float(draw.uniform(0, row.duration_s - longest_s))
    rate = job.audio.sample_rate_hz
    duration_s = min(row.duration_s or longest_s, longest_s)
    clip = read(manifest.file(row), sample_rate_hz=rate, mono=True, start_s=start_s, duration_s=duration_s)
    record = {name: getattr(row, name) for name in STORED_COLUMNS} | {"name": row.path}
    return clip.samples[0], record


def _scene(job: Job, number: int) -> tuple[FloatArray, dict[str, Any]]:
    item = _scenes(job.config.model_dump_json(), job.audio.model_dump_json()).item(
        number, partial(np.random.default_rng, 0)
    )
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
