"""The sounds of an audit: the rows of a manifest with captions, or any sound files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.audio.find import find_sounds
from aural.core.errors import DataError, near_miss
from aural.core.types import AudioSource
from aural.data.manifest import COLUMNS, Row, read_manifest
from aural.evaluate.data_root import Corpus


@dataclass(frozen=True)
class Clips:
    """Sounds with their captions ("" for none) and, from a manifest, their rows."""

    sources: Sequence[AudioSource]
    names: Sequence[str]
    captions: Sequence[str]
    rows: Sequence[Row] = ()

    def facts(self, column: str) -> list[str]:
        """Return one value per clip, "" where it is not given: a column, "meta.KEY", or the list of tags joined.

        Raises:
            DataError: there is no manifest, or the manifest has no such column.
        """
        if not self.rows:
            raise DataError(f'"{column}" needs a folder with a manifest.parquet; give one with --data')
        name, _, key = column.partition(".")
        if name not in COLUMNS or (key and name != "meta"):
            raise DataError(f'the manifest has no column "{column}"; {near_miss(name, COLUMNS)}')
        return [_text(json.loads(row.meta or "{}").get(key) if key else getattr(row, name)) for row in self.rows]

    @property
    def units(self) -> NDArray[np.int64]:
        """Numbers (N,) of what was recorded together: the rows' groups, else each clip by itself."""
        names = [row.group or f"{row.path}@{row.start_s}" for row in self.rows] or list(self.names)
        return np.unique(names, return_inverse=True)[1].ravel().astype(np.int64)

    def take(self, numbers: Sequence[int]) -> Clips:
        """Return some of the clips."""
        rows = [self.rows[n] for n in numbers] if self.rows else ()
        return Clips(
            [self.sources[n] for n in numbers],
            [self.names[n] for n in numbers],
            [self.captions[n] for n in numbers],
            rows,
        )


def open_clips(path: Path, *, most: int, generator: np.random.Generator) -> Clips:
    """Return up to `most` randomly chosen clips of a corpus (with manifest.parquet) or of any folder of sounds."""
    clips = _of_manifest(path) if (path / "manifest.parquet").is_file() else _of_files(path)
    if len(clips.sources) <= most:
        return clips
    return clips.take(sorted(int(n) for n in generator.choice(len(clips.sources), most, replace=False)))


def _of_manifest(folder: Path) -> Clips:
    manifest = read_manifest(folder)
    rows = tuple(manifest.rows())
    if not rows:
        raise DataError(f"{folder}: its manifest has no rows; build the corpus again")
    corpus = Corpus(folder.name, "", folder, rows, 0)
    captions = [row.caption_short or row.caption_label or next(iter(row.captions), "") for row in rows]
    sources = [corpus.source(n) for n in range(len(rows))]
    return Clips(sources, [corpus.item_id(n) for n in range(len(rows))], captions, rows)


def _of_files(path: Path) -> Clips:
    sounds = find_sounds([path])
    if not sounds.files:
        raise sounds.problems[0]
    files = sounds.files
    return Clips(files, [str(file) for file in files], [""] * len(files))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(sorted(str(one) for one in value))
    return "" if value is None else str(value)
