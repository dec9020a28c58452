"""List the sounds that a student learns from, and the held-out ones that it is compared on.

Data are a manifest (its splits decide), or a folder, file, tar or URL of sounds (a part is held out by
its address in that location).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aural.audio.io import read
from aural.core.errors import AuralError, DataError
from aural.core.types import AudioSource
from aural.data.manifest import Manifest, read_manifest
from aural.search.locations import listing, source_of

HELD_OUT_SPLITS = ("test", "valid")
"""The split of held-out sounds of a manifest: the first of these that it has."""


@dataclass(frozen=True)
class Sound:
    """A sound by its address, or a part of it. duration_s: 0 for everything after start_s."""

    address: str
    start_s: float = 0.0
    duration_s: float = 0.0

    def open(self) -> AudioSource:
        """Return the sound as models read it; a part is decoded now. Raises AudioError if it cannot be read."""
        source = source_of(self.address)
        if not (self.start_s or self.duration_s):
            return source
        return read(source, mono=True, start_s=self.start_s, duration_s=self.duration_s or None)


@dataclass
class SoundList:
    """Sounds to learn from, held-out sounds, and what could not be listed."""

    training: list[Sound] = field(default_factory=list)
    held_out: list[Sound] = field(default_factory=list)
    skipped: list[AuralError] = field(default_factory=list)


def list_sounds(data: Sequence[str | Path], held_out: float) -> SoundList:
    """Return the sounds of manifests and locations.

    held_out: the share of a location's sounds that is held out; a manifest has splits.

    Raises:
        DataError: there is no sound to learn from, or none to compare.
    """
    sounds = SoundList()
    for place in data:
        if is_manifest(place):
            _add_rows(read_manifest(place), sounds)
        else:
            _add_files(place, held_out, sounds)
    where = ", ".join(map(str, data))
    if not sounds.training:
        reason = f" ({sounds.skipped[0]})" if sounds.skipped else ""
        raise DataError(f"{where}: holds no sounds to learn from{reason}; name a manifest, a folder or tars of sounds")
    if len(sounds.held_out) < 2:
        raise DataError(f"{where}: has {len(sounds.held_out)} held-out sounds; give more sounds or a larger --held-out")
    return sounds


def is_manifest(place: str | Path) -> bool:
    """Return whether a place is a manifest: a .parquet file or a folder with manifest.parquet."""
    path = Path(place)
    return path.suffix == ".parquet" or (path / "manifest.parquet").is_file()


def _add_rows(manifest: Manifest, sounds: SoundList) -> None:
    splits = set(manifest.column("split"))
    held_out = next((split for split in HELD_OUT_SPLITS if split in splits), "")
    for row in manifest:
        if row.split in ("train", held_out):
            duration_s = row.duration_s if row.start_s else 0.0
            sound = Sound(str(manifest.file(row).absolute()), row.start_s, duration_s)
            (sounds.training if row.split == "train" else sounds.held_out).append(sound)


def _add_files(place: str | Path, held_out: float, sounds: SoundList) -> None:
    files = listing(place)
    sounds.skipped += files.errors
    for file in files.files:
        inside = file.path.removeprefix(str(place)).removeprefix(str(Path(place).absolute())) or Path(file.path).name
        away = zlib.crc32(inside.encode("utf-8", "surrogateescape")) % 1000 < 1000 * held_out
        (sounds.held_out if away else sounds.training).append(Sound(file.path))
