"""Embeddings computed once: parts of a fixed size on disk, named by the model's hash and the clips they hold.

A part is always embedded by one call over the same clips, so a run that was killed and resumed gives the same bytes as
one that was not. Parts of clips that no task asks for are never computed.

Legend: N clips or texts, E joint dimensions.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AuralError, DataError
from aural.core.types import AudioSource, Embedder, FloatArray
from aural.evaluate.truth import PART, Corpus

TEXT_PART = 256


@dataclass
class Store:
    """Embeddings of one model below `folder`."""

    folder: Path
    embedder: Embedder
    model_hash: str
    seconds: float = 0.0  # spent on embedding in this process
    embedded: int = 0  # clips embedded in this process
    unreadable: dict[str, str] = field(default_factory=dict)  # path -> reason
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
        """(N, E) unit rows of clips by number; NaN where a sound cannot be read. `change` makes a variant of a clip."""
        vectors: dict[int, FloatArray] = {}
        parts = _parts(corpus, numbers) if change is None else _chunks(numbers)
        for done, members in enumerate(parts):
            vectors |= dict(zip(members, self._part(corpus, members, variant, change), strict=True))
            say(done + 1, len(parts))
        return np.stack([vectors[int(n)] for n in numbers])

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """(N, E) unit rows; equal texts are embedded once."""
        fresh = sorted(set(texts) - self._texts.keys())
        for at in range(0, len(fresh), TEXT_PART):
            some = fresh[at : at + TEXT_PART]
            path = self.path("text", some)
            vectors = _load(path)
            if vectors is None:
                start = time.perf_counter()
                vectors = checked(self.embedder.embed_text(some), len(some), "embed_text")
                self.seconds += time.perf_counter() - start
                _save(path, vectors)
            self._texts |= dict(zip(some, vectors, strict=True))
        return np.stack([self._texts[text] for text in texts])

    def frames(
        self, corpus: Corpus, number: int, embed: Callable[[int], tuple[FloatArray, list[tuple[float, float]]] | None]
    ) -> tuple[FloatArray, NDArray[np.float64]]:
        """A clip's frames (W, E) and their (start, end) in seconds (W, 2)."""
        path = self.path("frames", [corpus.key(number)])
        kept = _load(path)
        if kept is None:
            start = time.perf_counter()
            found = embed(number)
            if found is None:
                raise DataError("the model gives no frames")
            kept = np.concatenate([np.asarray(found[1], np.float32).reshape(-1, 2), found[0]], axis=1)
            self.seconds += time.perf_counter() - start
            self.embedded += 1
            _save(path, kept)
        return kept[:, 2:], kept[:, :2].astype(np.float64)

    def _part(
        self, corpus: Corpus, members: list[int], variant: str, change: Callable[[int], AudioSource] | None
    ) -> FloatArray:
        path = self.path("audio", [variant, *(corpus.key(n) for n in members)])
        vectors = _load(path)
        if vectors is None:
            sources = [_made(corpus, n, change) for n in members]
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
            return checked(self.embedder.embed_audio(sources), len(sources), "embed_audio")
        except AuralError:
            pass  # one of them cannot be read: find out which
        rows = np.full((len(sources), self.embedder.embed_dim), np.nan, np.float32)
        for n, one in enumerate(sources):
            try:
                rows[n] = checked(self.embedder.embed_audio([one]), 1, "embed_audio")[0]
            except AuralError as error:
                self.unreadable[paths[n]] = str(error)
        return rows

    def kept(self, kind: str, members: Sequence[str], make: Callable[[], FloatArray]) -> FloatArray:
        """An array that depends on the model and on `members`: from disk, or made and written there."""
        path = self.path(kind, members)
        found = _load(path)
        if found is None:
            found = make()
            _save(path, found)
        return found

    def path(self, kind: str, members: Sequence[str]) -> Path:
        """Where the vectors of some members lie."""
        digest = hashlib.sha256("\0".join((self.model_hash, kind, *members)).encode()).hexdigest()[:24]
        return self.folder / kind / digest[:2] / f"{digest}.npy"


def _parts(corpus: Corpus, numbers: NDArray[np.int64]) -> list[list[int]]:
    """The corpus' parts that hold the clips."""
    bounds = sorted({(int(start), int(count)) for start, count in corpus.part_of[numbers]})
    return [list(range(start, start + count)) for start, count in bounds]


def _chunks(numbers: NDArray[np.int64]) -> list[list[int]]:
    """The clips alone: what is changed for one task is of no use to others."""
    some = sorted({int(n) for n in numbers})
    return [some[at : at + PART] for at in range(0, len(some), PART)]


def source(corpus: Corpus, number: int) -> AudioSource:
    """A clip as embedders take it: its path, or its samples where it is a stretch of a file."""
    one = corpus.rows[number]
    if one.start_s == 0:
        return corpus.file(number)
    from aural.audio.io import read

    return read(corpus.file(number), start_s=one.start_s, duration_s=one.duration_s or None)


def _made(corpus: Corpus, number: int, change: Callable[[int], AudioSource] | None) -> AudioSource:
    try:
        return change(number) if change else source(corpus, number)
    except AuralError:
        return corpus.file(number)  # the embedder will meet the same error, and name it


def checked(vectors: FloatArray, count: int, what: str) -> FloatArray:
    """Unit rows in float32, or a DataError that names the embedder's method."""
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise DataError(
            f"{what} gave an array of shape {rows.shape} for {count} inputs; it must give finite (N, E) rows"
        )
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _load(path: Path) -> FloatArray | None:
    try:
        return np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None


def _save(path: Path, vectors: FloatArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(stream.getvalue())
    os.replace(part, path)
