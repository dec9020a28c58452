"""A cache of embeddings: parts of a fixed size on disk, named by the model's hash and the clips they hold.

A part is always embedded by one call over the same clips, so a run that was interrupted and resumed gives the same
bytes as one that was not. Parts of clips that no task uses are never computed.

Legend: N clips or texts, E joint dimensions, W frames.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AuralError, DataError
from aural.core.files import atomic_write
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import unit_rows
from aural.evaluate.data_root import PART, Corpus

TEXT_PART = 256


@dataclass
class EmbeddingCache:
    """The embeddings of one model, stored below `folder`."""

    folder: Path
    embedder: Any
    model_hash: str
    seconds: float = 0.0
    """Time spent on embedding in this process."""
    embedded: int = 0
    """Clips embedded in this process."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Path -> reason."""
    _texts: dict[str, FloatArray] = field(default_factory=dict)

    def audio(
        self,
        corpus: Corpus,
        numbers: NDArray[np.int64],
        *,
        variant: str = "",
        change: Callable[[int], AudioSource] | None = None,
        say: Callable[[int, int], None] = lambda done, total: None,
    ) -> FloatArray:
        """Return unit rows (N, E) of clips by number; NaN where a sound cannot be read.

        `change` makes a changed version of a clip and `variant` names it.
        """
        vectors: dict[int, FloatArray] = {}
        parts = _parts(corpus, numbers) if change is None else _chunks(numbers)
        for done, members in enumerate(parts):
            vectors |= dict(zip(members, self._part(corpus, members, variant, change), strict=True))
            say(done + 1, len(parts))
        return np.stack([vectors[int(n)] for n in numbers])

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Return unit rows (N, E); equal texts are embedded once."""
        new = sorted(set(texts) - self._texts.keys())
        for at in range(0, len(new), TEXT_PART):
            part = new[at : at + TEXT_PART]
            path = self.path("text", part)
            vectors = _load(path)
            if vectors is None:
                start = time.perf_counter()
                vectors = unit_checked(self.embedder.embed_text(part), len(part), "embed_text")
                self.seconds += time.perf_counter() - start
                _save(path, vectors)
            self._texts |= dict(zip(part, vectors, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def frames(
        self, corpus: Corpus, number: int, embed: Callable[[int], tuple[FloatArray, list[tuple[float, float]]]]
    ) -> tuple[FloatArray, NDArray[np.float64]]:
        """Return a clip's frames (W, E) and their (start, end) in seconds (W, 2)."""
        path = self.path("frames", [corpus.key(number)])
        stored = _load(path)
        if stored is None:
            start = time.perf_counter()
            vectors, times = embed(number)
            stored = np.concatenate([np.asarray(times, np.float32).reshape(-1, 2), vectors], axis=1)
            self.seconds += time.perf_counter() - start
            self.embedded += 1
            _save(path, stored)
        return stored[:, 2:], stored[:, :2].astype(np.float64)

    def array(self, kind: str, members: Sequence[str], make: Callable[[], FloatArray]) -> FloatArray:
        """Return an array that depends on the model and on `members`: from disk, or made and stored."""
        path = self.path(kind, members)
        stored = _load(path)
        if stored is None:
            stored = make()
            _save(path, stored)
        return stored

    def path(self, kind: str, members: Sequence[str]) -> Path:
        """Return the file of an array that depends on some members."""
        digest = hashlib.sha256("\0".join((self.model_hash, kind, *members)).encode()).hexdigest()[:24]
        return self.folder / kind / digest[:2] / f"{digest}.npy"

    def _part(
        self, corpus: Corpus, members: list[int], variant: str, change: Callable[[int], AudioSource] | None
    ) -> FloatArray:
        path = self.path("audio", [variant, *(corpus.key(n) for n in members)])
        vectors = _load(path)
        if vectors is None:
            sources = [_source(corpus, n, change) for n in members]
            start = time.perf_counter()
            vectors = self._embed(sources, [corpus.rows[n].path for n in members])
            self.seconds += time.perf_counter() - start
            self.embedded += len(members)
            _save(path, vectors)
        for n, vector in zip(members, vectors, strict=True):
            if np.isnan(vector[0]):
                self.unreadable.setdefault(corpus.rows[n].path, "cannot be read")
        return vectors

    def _embed(self, sources: list[AudioSource], paths: list[str]) -> FloatArray:
        try:
            return unit_checked(self.embedder.embed_audio(sources), len(sources), "embed_audio")
        except AuralError:
            pass  # one of them cannot be read: embed them one by one
        rows = np.full((len(sources), self.embedder.embed_dim), np.nan, np.float32)
        for n, one in enumerate(sources):
            try:
                rows[n] = unit_checked(self.embedder.embed_audio([one]), 1, "embed_audio")[0]
            except AuralError as error:
                self.unreadable[paths[n]] = str(error)
        return rows


def unit_checked(vectors: FloatArray, count: int, method: str) -> FloatArray:
    """Return float32 unit rows. Raises DataError that names the embedder's method if the array is not (N, E)."""
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise DataError(
            f"{method} gave an array of shape {rows.shape} for {count} inputs; it must give finite (N, E) rows"
        )
    return unit_rows(rows)


def _parts(corpus: Corpus, numbers: NDArray[np.int64]) -> list[list[int]]:
    """Return the corpus' parts that hold the clips."""
    bounds = sorted({(int(start), int(count)) for start, count in corpus.part_of[numbers]})
    return [list(range(start, start + count)) for start, count in bounds]


def _chunks(numbers: NDArray[np.int64]) -> list[list[int]]:
    """Return the clips themselves in parts: other tasks do not use clips that were changed for one task."""
    members = sorted({int(n) for n in numbers})
    return [members[at : at + PART] for at in range(0, len(members), PART)]


def _source(corpus: Corpus, number: int, change: Callable[[int], AudioSource] | None) -> AudioSource:
    try:
        return change(number) if change else corpus.source(number)
    except AuralError:
        return corpus.file(number)  # the embedder will raise the same error and name the file


def _load(path: Path) -> FloatArray | None:
    try:
        return np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None


def _save(path: Path, vectors: FloatArray) -> None:
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    with atomic_write(path, parents=True) as part:
        part.write_bytes(stream.getvalue())
