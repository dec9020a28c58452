"""Split files into windows, embed them in batches that may span files, and yield each file once it is complete.

Legend: W windows of a file, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from aural.audio.io import info
from aural.audio.length import Window
from aural.core.errors import AudioError, AuralError
from aural.core.types import Clip, Embedder, FloatArray
from aural.core.vectors import check_vector
from aural.search.locations import FoundFile
from aural.search.window_stream import FileEnd, window_stream

BATCH_WINDOWS: Final = 16


@dataclass(frozen=True, slots=True)
class FileJob:
    """A file to embed and the hash of its content."""

    file: FoundFile
    hash: str


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """The rows of a file (one per window) with their vectors (W, E), or the error that stopped it."""

    job: FileJob
    rows: list[dict[str, Any]]
    vectors: FloatArray
    error: AuralError | None = None

    @property
    def silent(self) -> bool:
        """True if every window is digital silence."""
        return all(row["silent"] for row in self.rows)


FileEmbedder: TypeAlias = Callable[[Sequence[FileJob]], Iterable[EmbeddedFile]]
"""A function that embeds files: in this process (`embed_files`) or in others (`aural.search.ray_workers`)."""


@dataclass(slots=True)
class _OpenFile:
    """The windows embedded so far of the file that is being read."""

    windows: list[dict[str, Any]] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)
    error: AuralError | None = None


def embed_files(
    jobs: Sequence[FileJob], embedder: Embedder, window_s: float, *, batch: int = BATCH_WINDOWS
) -> Iterator[EmbeddedFile]:
    """Yield every file in order, as soon as all its windows are embedded.

    Sounds are decoded ahead while the model computes. batch: windows per call of the model.
    """
    sources = [job.file.source for job in jobs]
    stream = window_stream(sources, embedder.sample_rate_hz, window_s, ahead=batch)
    group: list[tuple[int, Window] | FileEnd] = []
    waiting = 0
    current = _OpenFile()
    for item in stream:
        group.append(item)
        waiting += isinstance(item, tuple)
        if waiting < batch and (waiting or isinstance(item, tuple)):
            continue
        yield from _embed_group(group, jobs, embedder, current)
        waiting = 0
    yield from _embed_group(group, jobs, embedder, current)


def _embed_group(
    group: list[tuple[int, Window] | FileEnd], jobs: Sequence[FileJob], embedder: Embedder, current: _OpenFile
) -> Iterator[EmbeddedFile]:
    """Embed the windows of a group in one call, yield the files that end in it, and empty the group."""
    vectors = iter(_embed_windows([item[1] for item in group if isinstance(item, tuple)], embedder))
    for item in group:
        if isinstance(item, FileEnd):
            yield _close(jobs[item.number], current, item.error or current.error)
            current.windows, current.vectors, current.error = [], [], None
            continue
        number, window = item
        columns = {"window": len(current.windows), "start": window.start_s, "end": window.end_s}
        current.windows.append(columns | {"silent": window.silent})
        vector = next(vectors)
        try:
            check_vector(vector, jobs[number].file.path, window.samples)
        except AudioError as error:
            current.error = current.error or error
        current.vectors.append(vector)
    group.clear()


def _embed_windows(windows: list[Window], embedder: Embedder) -> FloatArray:
    """Return the vectors (W, E) of windows, with NaN for one that the embedder refuses: it must not cost the others."""
    clips = [Clip(window.samples[None], embedder.sample_rate_hz) for window in windows]
    if not clips:
        return np.empty((0, embedder.embed_dim), np.float32)
    try:
        return embedder.embed_audio(clips)
    except AudioError:
        if len(clips) == 1:
            return np.full((1, embedder.embed_dim), np.nan, np.float32)
    return np.concatenate([_embed_windows([window], embedder) for window in windows])


def _close(job: FileJob, current: _OpenFile, error: AuralError | None) -> EmbeddedFile:
    rows: list[dict[str, Any]] = []
    if error is None:
        try:
            rows = _rows(job, current.windows)
        except AuralError as late:  # the file was deleted after its windows were read
            error = late
    return EmbeddedFile(job, rows, np.array(current.vectors if rows else [], np.float32), error)


def _rows(job: FileJob, windows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    header = info(job.file.source)
    shared = file_columns(job.file) | {
        "hash": job.hash,
        "duration": windows[-1]["end"],
        "sample_rate": header.sample_rate_hz,
        "channels": header.channels,
        "tags": [],
    }
    return [shared | window for window in windows]


def file_columns(file: FoundFile) -> dict[str, Any]:
    """Return the columns that follow from a file's address, size and time."""
    path = Path(file.path)
    names = {"file": file.file, "path": file.path, "name": path.name, "format": path.suffix[1:].lower()}
    return names | {"size": file.size, "mtime_ns": file.mtime_ns, "modified": file.modified}
