"""A synthetic corpus of a few seconds: for tests and for `aural reproduce --data toys`, where no sounds are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from aural.audio.io import write
from aural.core.files import atomic_write
from aural.core.types import Clip, FloatArray
from aural.data.manifest import Row, write_manifest

RATE_HZ: Final = 16_000
SPLITS: Final = {"train": 6, "valid": 1, "test": 2}
"""Clips per class and split."""
CLASSES: Final = {  # name -> (family, pitch in Hz, pulses per second, share of noise)
    "low beep": ("tone", 200.0, 0.0, 0.0),
    "high beep": ("tone", 1500.0, 0.0, 0.0),
    "slow rattle": ("rattle", 500.0, 8.0, 0.3),
    "fast rattle": ("rattle", 500.0, 25.0, 0.3),
    "hiss": ("noise", 0.0, 0.0, 1.0),
    "pulsing hiss": ("noise", 0.0, 10.0, 1.0),
    "rising chirp": ("chirp", 600.0, 0.0, 0.05),
    "falling chirp": ("chirp", -2400.0, 0.0, 0.05),
}


def toy_corpus(folder: Path) -> Path:
    """Write 72 short sounds of 8 classes with a manifest to `folder`, unless it is there; return the folder."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with atomic_write(folder) as part:
        part.mkdir()
        for number, (name, (family, pitch_hz, pulses_hz, noise)) in enumerate(CLASSES.items()):
            for place, split in enumerate(split for split, count in SPLITS.items() for _ in range(count)):
                rng = np.random.default_rng([number, place])
                path = f"{name.replace(' ', '-')}-{place}.wav"
                samples = _sound(pitch_hz, pulses_hz, noise, rng)
                write(part / path, Clip(samples[None], RATE_HZ))
                rows.append(_row(path, split, name, family, samples, number))
        write_manifest(part / "manifest.parquet", rows)
    return folder


def _sound(pitch_hz: float, pulses_hz: float, noise: float, rng: np.random.Generator) -> FloatArray:
    duration_s = rng.uniform(0.3, 0.8)
    time_s = np.arange(round(RATE_HZ * duration_s)) / RATE_HZ
    pitch_hz *= rng.uniform(0.95, 1.05)
    sweep = 1.0 + time_s / duration_s if 599 < pitch_hz < 700 else 1.0
    sweep = 1.0 - 0.4 * time_s / duration_s if pitch_hz < 0 else sweep
    tone = np.sin(2 * np.pi * abs(pitch_hz) * time_s * sweep)
    samples = (1 - noise) * tone + noise * rng.standard_normal(len(time_s))
    if pulses_hz:
        samples = samples * (0.65 + 0.35 * np.sign(np.sin(2 * np.pi * pulses_hz * time_s)))
    sound: FloatArray = (0.2 * samples).astype(np.float32)
    return sound


def _row(path: str, split: str, name: str, family: str, samples: FloatArray, number: int) -> Row:
    return Row(
        path=path,
        source="toys" if number % 2 else "more-toys",
        split=split,
        duration_s=len(samples) / RATE_HZ,
        sample_rate_hz=RATE_HZ,
        channels=1,
        license="CC0-1.0",
        label=name,
        class_name=name,
        family=family,
        language="en" if number % 4 else "fr",
        tags=[family, name],
        caption_label=f"a {name}",
        caption_short=f"You can hear a {name}.",
        caption_detailed=f"A {name}, the sound of a {family}, played once.",
        captions=[f"a {name}"],
        meta=json.dumps({"pitch": number / len(CLASSES), "number": 1}),
    )
