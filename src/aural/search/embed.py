"""Files to rows: cut into windows, embedded in batches that files share, told file by file when whole.

Legend: W windows of a file, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from aural.audio.io import info
from aural.core.errors import AuralError
from aural.core.types import Embedder, FloatArray
from aural.search.cut import Cut, Piece, stream
from aural.search.source import Found, opened

BATCH: Final = 16  # windows embedded at once


@dataclass(frozen=True, slots=True)
class Work:
    """A file to embed, and the hash of its content."""

    found: Found
    hash: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file's rows with their vectors (W, E), or the error that it met."""

    work: Work
    rows: list[dict[str, Any]]
    vectors: FloatArray
    error: AuralError | None = None

    @property
    def silent(self) -> bool:
        return all(row["silent"] for row in self.rows)


@dataclass(slots=True)
class _Open:
    """What is known so far of a file whose windows are being embedded."""

    places: list[dict[str, Any]] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)


def embed_files(
    works: Sequence[Work], embedder: Embedder, window_s: float, *, batch: int = BATCH
) -> Iterator[Embedded]:
    """Every file in order, as soon as it is whole; the sounds are read ahead while the model computes."""
    cut = stream([work.found.path for work in works], embedder.sample_rate_hz, window_s, ahead=batch)
    group: list[tuple[int, Piece] | Cut] = []
    waiting, opened = 0, _Open()
    for item in cut:
        group.append(item)
        waiting += isinstance(item, tuple)
        if waiting < batch and (waiting or isinstance(item, tuple)):
            continue
        yield from _flush(group, works, embedder, opened)
        waiting = 0
    yield from _flush(group, works, embedder, opened)


def _flush(
    group: list[tuple[int, Piece] | Cut], works: Sequence[Work], embedder: Embedder, opened: _Open
) -> Iterator[Embedded]:
    """Embed the windows of a group at once and tell the files that end in it."""
    clips = [item[1].clip for item in group if isinstance(item, tuple)]
    vectors = iter(embedder.embed_audio(clips) if clips else ())
    for item in group:
        if isinstance(item, tuple):
            piece = item[1]
            place = {"window": len(opened.places), "start": piece.start_s, "end": piece.end_s, "silent": piece.silent}
            opened.places.append(place)
            opened.vectors.append(next(vectors))
            continue
        yield _closed(works[item.number], opened, item.error)
        opened.places, opened.vectors = [], []
    group.clear()


def _closed(work: Work, opened: _Open, error: AuralError | None) -> Embedded:
    rows: list[dict[str, Any]] = []
    if error is None:
        try:
            rows = _rows(work, opened.places)
        except AuralError as gone:  # since it was read
            error = gone
    return Embedded(work, rows, np.array(opened.vectors if rows else [], np.float32), error)


def _rows(work: Work, places: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = work.found
    with opened(found.path) as source:
        header = info(source)
    shared = named(found) | {
        "hash": work.hash,
        "duration": places[-1]["end"],
        "sample_rate": header.sample_rate_hz,
        "channels": header.channels,
        "tags": [],
    }
    return [shared | place for place in places]


def named(found: Found) -> dict[str, Any]:
    """The columns that follow from a file's place and date alone."""
    path = Path(found.path)
    names = {"file": found.file, "path": found.path, "name": path.name, "format": path.suffix[1:].lower()}
    return names | {"size": found.size, "mtime_ns": found.mtime_ns, "modified": found.modified}
