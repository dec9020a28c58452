"""Write what a student learns from: log-mels of windows, each with the vector that the teacher gives for it.

One tar per `SOUNDS` sounds, written atomically, so that an interrupted command continues where it stopped and a later
one with other settings of the training reads the same vectors. Version 0 of a window is the window itself; others are
changed (`AugmentConfig`) or mixed with a window of another sound, and the teacher reads the changed one.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from aural.audio.augment import AugmentConfig, augment, mix
from aural.audio.length import Shorter, fit_shorter, windows
from aural.audio.mel import LogMel
from aural.core.config import Config
from aural.core.errors import AudioError, AuralError, ConfigError
from aural.core.files import atomic_write, write_text
from aural.core.types import FloatArray
from aural.core.vectors import check_vector
from aural.models.clap import AudioConfig
from aural.models.embedding import EmbeddingModel
from aural.train.distill.sounds import Sound
from aural.train.draw import ITEM, ORDER, generator
from aural.train.mels import add_mel, pack
from aural.train.vectors import vector_to_text

SOUNDS: Final = 16
"""Sounds per tar."""
WINDOWS_AT_ONCE: Final = 256
"""Windows that a teacher on a GPU embeds together."""


class LessonConfig(Config):
    """Options of the windows that are cut from sounds and changed."""

    versions: int = 4
    """Versions of each window, the unchanged one included."""
    windows: int = 12
    """Largest number of windows per sound, from its start."""
    mix_chance: float = 0.5
    """Probability that a changed window is mixed with a window of another sound, at -6 to 12 dB."""
    augment: AugmentConfig = AugmentConfig(
        speed=(0.85, 1.18), gain_db=(-18, 6), noise_chance=0.25, noise_snr_db=(5, 40)
    )
    seed: int = 0


@dataclass(frozen=True)
class Input:
    """The sounds that a teacher reads."""

    rate_hz: int
    window_s: float
    shorter: Shorter


@dataclass
class Lessons:
    """The number of windows in a folder of lessons, the tars, and what was skipped."""

    windows: int = 0
    tars: list[Path] = field(default_factory=list)
    skipped: list[AuralError] = field(default_factory=list)


def write_lessons(
    teacher: EmbeddingModel,
    student: AudioConfig,
    sounds: Sequence[Sound],
    folder: Path,
    config: LessonConfig,
    jobs: int,
) -> Lessons:
    """Write the lessons of sounds to a folder, except those that are there.

    jobs: processes that decode and change sounds, while this one computes the teacher.

    Raises:
        ConfigError: the folder holds lessons of other sounds, another teacher or other settings.
    """
    order = generator(config.seed, ORDER).permutation(len(sounds))
    mixed = [sounds[int(i)] for i in order]
    parts = [mixed[at : at + SOUNDS] for at in range(0, len(mixed), SOUNDS)]
    _claim(folder, teacher, student, parts, config)
    lessons = Lessons(tars=[folder / f"{number:06d}.tar" for number in range(len(parts))])
    todo = [number for number, tar in enumerate(lessons.tars) if not tar.is_file()]
    reads = Input(teacher.sample_rate_hz, teacher.window_s, student.shorter)
    jobs_of = ((parts[number], reads, config, number) for number in todo)
    for number, (waves, keys, skipped) in zip(todo, _parallel(jobs_of, jobs), strict=True):
        lessons.skipped += skipped
        lessons.skipped += _write(lessons.tars[number], teacher, student, waves, keys)
    lessons.windows = sum(_windows_in(tar) for tar in lessons.tars)
    if not lessons.windows:
        first = f": {lessons.skipped[0]}" if lessons.skipped else ""
        raise ConfigError(f"none of {len(sounds)} sounds can be read{first}")
    return lessons


def _claim(
    folder: Path, teacher: EmbeddingModel, student: AudioConfig, parts: list[list[Sound]], config: LessonConfig
) -> None:
    """Record what the lessons are made from; raise ConfigError if the folder holds others."""
    digest = hashlib.sha256(repr((teacher.name, teacher.embed_dim, student.mel, student.window_s, config)).encode())
    digest.update(repr(parts).encode("utf-8", "surrogateescape"))
    values = {"lessons": digest.hexdigest(), "teacher": teacher.name}
    file = folder / "lessons.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != values:
        raise ConfigError(f"{folder}: holds lessons of other sounds, another teacher or other settings; name another")
    write_text(file, json.dumps(values) + "\n", parents=True)


def _parallel(listed: Iterable[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    """Yield the windows of each part in order; at most two parts per process wait, so memory is bounded."""
    if jobs == 1:
        yield from (windows_of(*job) for job in listed)
        return
    with ProcessPoolExecutor(jobs) as processes:
        waiting: deque[Future[Any]] = deque()
        for job in listed:
            waiting.append(processes.submit(windows_of, *job))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def windows_of(
    sounds: Sequence[Sound], reads: Input, config: LessonConfig, number: int
) -> tuple[list[FloatArray], list[str], list[AuralError]]:
    """Return the versions of all windows of some sounds, the name of each, and errors of unreadable sounds."""
    plain: list[tuple[str, FloatArray]] = []
    skipped: list[AuralError] = []
    for sound in sounds:
        try:
            parts = windows(sound.open(), reads.rate_hz, reads.window_s, shorter=reads.shorter)
            for part in islice(parts, config.windows):
                if not part.silent:
                    plain.append((f"{sound.address} {part.start_s:.2f}", part.samples))
        except AuralError as error:
            skipped.append(error)
    waves, keys = [wave for _, wave in plain], [key for key, _ in plain]
    for version in range(1, config.versions):
        for place, (key, wave) in enumerate(plain):
            draw = generator(config.seed, ITEM, number, place, version)
            waves.append(_changed(wave, [other for name, other in plain if name != key], reads, config, draw))
            keys.append(f"{key} version {version}")
    return waves, keys, skipped


def _changed(
    wave: FloatArray, others: Sequence[FloatArray], reads: Input, config: LessonConfig, draw: np.random.Generator
) -> FloatArray:
    """Return a window after random changes, of the same length."""
    length = len(wave)
    if others and draw.random() < config.mix_chance:
        wave = mix(wave, others[int(draw.integers(len(others)))], float(draw.uniform(-6, 12)))
        wave = wave / np.float32(max(1.0, float(np.abs(wave).max())))
    wave = augment(wave, config.augment, draw)[:length]
    return wave if len(wave) == length else fit_shorter(wave, length, reads.shorter)


def _write(
    tar_path: Path, teacher: EmbeddingModel, student: AudioConfig, waves: Sequence[FloatArray], keys: Sequence[str]
) -> list[AuralError]:
    """Write one tar and return the errors of windows that the teacher cannot embed."""
    device = torch.device(teacher.device)
    front_end = LogMel(student.mel).to(device)
    size = WINDOWS_AT_ONCE if teacher.windows_a_batch > 16 else teacher.windows_a_batch
    bad: list[AuralError] = []
    with atomic_write(tar_path, parents=True) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for first in range(0, len(waves), size):
            some = list(waves[first : first + size])
            vectors = teacher.embed_windows(some)
            with torch.inference_mode():
                mels = front_end(torch.from_numpy(np.stack(some)).to(device)).cpu()
            for at, (vector, mel) in enumerate(zip(vectors, mels, strict=True), first):
                try:
                    check_vector(vector, keys[at], waves[at])
                except AudioError as error:
                    bad.append(error)
                    continue
                row = {"name": keys[at], "vector": vector_to_text(vector)}
                add_mel(tar, f"{at:06d}", pack(mel, student.mel), row)
    return bad


def _windows_in(tar: Path) -> int:
    from aural.train.shards import index_shard

    return len(index_shard(str(tar))[0])
