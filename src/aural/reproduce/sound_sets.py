"""Sets of short sounds for studies of self-supervised encoders, kept in the cache folder of studies as files.

Sets: spoken words of three languages, spoken keywords, melodies, and real sounds of libre-mini. A machine without
espeak-ng can use files that another one wrote. A smoke test takes a few melodies for every set.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from aural.audio.io import read
from aural.data.libre.mini import cache_folder
from aural.data.manifest import read_manifest
from aural.data.store import Sound, Store, pack_sounds, read_store
from aural.data.worlds import open_world
from aural.reproduce.shared import shared_file
from aural.reproduce.study import StudyContext

VERSION: Final = 1
"""Counts up when the content changes."""
RATE_HZ: Final = 16_000
SECONDS: Final = 1.6
SPLITS: Final = ("train", "test")
SIZES: Final = {
    "es": (1200, 120),
    "it": (400, 100),
    "fr": (300, 40),
    "keywords": (280, 120),
    "notes": (500, 150),
    "sounds": (900, 260),
}
"""Set -> items of its splits train and test; of "sounds", at most."""
EVENTS: Final = (
    "acoustic guitar", "alien", "bird", "crash cymbal", "drum loop", "explosion", "fire", "footsteps", "kick drum",
    "machine gun", "monster", "notification", "ride cymbal", "rimshot", "ringtone", "snare drum", "stream", "strings",
    "swing", "tabla", "tom",
)  # fmt: skip
"""Classes of "sounds" whose test clips are stored: those with at least 5 of them and 9 training clips."""
SMOKE_SIZE: Final = 16


def sound_file(context: StudyContext, name: str, split: str) -> Path:
    """Return the file of a set, written now if it is not in the cache. In a smoke test all sets are equal."""
    name = "notes" if context.smoke else name
    size = SMOKE_SIZE if context.smoke else SIZES[name][SPLITS.index(split)]
    key = repr((VERSION, size, name, split))
    return shared_file(context, f"sounds-{name}-{split}", key, lambda: pack_sounds(_sounds(context, name, split, size)))


def sound_set(context: StudyContext, name: str, split: str) -> Store:
    """Return the sounds of a set with their facts."""
    return read_store(sound_file(context, name, split))


def _sounds(context: StudyContext, name: str, split: str, size: int) -> Iterator[Sound]:
    if name == "sounds":
        yield from _real(context.data or cache_folder(), split, size)
        return
    options: dict[str, Any] = {"split": split, "size": size}
    if name == "notes":
        world = open_world("notes", options)
    elif name == "keywords":
        world = open_world("words", options | {"languages": ["es"], "keywords": 12})
    else:
        world = open_world("words", options | {"languages": [name]})
    with ThreadPoolExecutor(2) as pool:
        for item in pool.map(world.item, range(size)):
            assert item.wave is not None
            yield item.wave, item.sample_rate_hz, dict(item.facts) | {"class": _class_of(context, name, item.facts)}


def _class_of(context: StudyContext, name: str, facts: Any) -> str:
    if context.smoke:
        return str(facts["instrument"])
    return str(facts["transcript"]) if name == "keywords" else ""


def _spread(rows: list[Any], size: int) -> list[Any]:
    """Return at most `size` rows, evenly spread over the list."""
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(size, len(rows))).round().astype(int)]


def _real(folder: Path, split: str, size: int) -> Iterator[Sound]:
    """Yield the first seconds of the clips of libre-mini that are not speech."""
    manifest = read_manifest(folder)
    rows = [row for row in manifest if (row.split == "train") == (split == "train") and not row.language]
    if split == "test":
        rows = [row for row in rows if row.class_name in EVENTS]
    for row in _spread(rows, size):
        clip = read(
            manifest.file(row),
            sample_rate_hz=RATE_HZ,
            mono=True,
            start_s=row.start_s,
            duration_s=min(row.duration_s or SECONDS, SECONDS),
        )
        wave = np.zeros(round(SECONDS * RATE_HZ), np.float32)
        samples = clip.samples[0][: len(wave)]
        wave[: len(samples)] = samples
        yield wave, RATE_HZ, {"class": row.class_name, "license": row.license, "source": row.source}
