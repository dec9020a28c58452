"""Define what every index does, and the exact index in memory that the others are compared with.

Legend: N rows (one per window of a file), E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.search.filters import COLUMNS, Filter


@dataclass(frozen=True, slots=True)
class Hit:
    """A window of a file with its score: the cosine between the window and the query. Times are in seconds.

    word_score: how well the query's words match the file's name, folders and tags (BM25; 0: not at all, or not asked).
    onset_s, offset_s, confidence: where in the file the query's words are heard, see `aural.search.place`; None: not
    heard in the window, or not asked.
    copies: hits of the other files with the same sound (`aural.search.copies`), by path; empty if they are not folded.
    """

    file: str
    path: str
    window: int
    start_s: float
    end_s: float
    duration_s: float
    score: float
    silent: bool = False
    tags: tuple[str, ...] = ()
    word_score: float = 0.0
    onset_s: float | None = None
    offset_s: float | None = None
    confidence: float | None = None
    copies: tuple[Hit, ...] = ()


@runtime_checkable
class Index(Protocol):
    """Rows that can be searched by a vector. Every index gives the same answers to the same queries."""

    def search(self, query: FloatArray, top: int, where: Filter | None = None) -> list[Hit]:
        """Return the `top` rows nearest to the unit vector `query` (E,) that meet `where`, best first."""
        ...

    def count(self, where: Filter | None = None) -> int:
        """Return the number of rows that meet `where`."""
        ...


class ExactIndex:
    """An index in memory that compares every row.

    vectors: (N, E) unit rows. columns: one (N,) array per name in `COLUMNS`.
    """

    def __init__(self, vectors: FloatArray, columns: Mapping[str, NDArray[Any]]) -> None:
        missing = sorted(set(COLUMNS) - set(columns))
        if missing:
            raise DataError(f"index: column {missing[0]} is missing")
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._columns = dict(columns)
        files = np.array([str(file) for file in columns["file"]], object)
        self._rank = np.empty(len(files), np.int64)  # order of rows with equal scores
        self._rank[np.lexsort((columns["window"], files))] = np.arange(len(files))

    @property
    def vectors(self) -> FloatArray:
        """The unit rows (N, E)."""
        return self._vectors

    def search(self, query: FloatArray, top: int, where: Filter | None = None) -> list[Hit]:
        """Return the nearest rows; see `Index`. Rows with equal scores are ordered by file and window."""
        query = unit_query(query, self._vectors.shape[1])
        if where is None:
            scores = self._vectors @ query
            rows = _best(scores, top)
            scores = scores[rows]
        else:
            rows = np.flatnonzero(where.mask(self._columns))
            few = 4 * len(rows) < len(self._vectors)  # the matrix is compared without a copy, some rows only with one
            scores = self._vectors[rows] @ query if few else (self._vectors @ query)[rows]
            best = _best(scores, top)
            rows, scores = rows[best], scores[best]
        order = np.lexsort((self._rank[rows], -scores))[:top]
        return [self._hit(int(rows[i]), float(scores[i])) for i in order]

    def count(self, where: Filter | None = None) -> int:
        """Return the number of rows that meet `where`; see `Index`."""
        return len(self._vectors) if where is None else int(where.mask(self._columns).sum())

    def _hit(self, row: int, score: float) -> Hit:
        value = {name: column[row] for name, column in self._columns.items()}
        return Hit(
            file=str(value["file"]),
            path=str(value["path"]),
            window=int(value["window"]),
            start_s=float(value["start"]),
            end_s=float(value["end"]),
            duration_s=float(value["duration"]),
            score=score,
            silent=bool(value["silent"]),
            tags=tuple(value["tags"]),
        )


def _best(scores: FloatArray, top: int) -> NDArray[np.int64]:
    """Return the places of the `top` highest scores, and of those that equal the lowest of them.

    >>> _best(np.float32([3, 1, 2, 2, 0]), 2).tolist()
    [0, 2, 3]
    """
    if len(scores) <= top:
        return np.arange(len(scores))
    lowest = np.partition(scores, len(scores) - top)[len(scores) - top]
    return np.flatnonzero(scores >= lowest)


def best_per_file(search: Callable[[int], list[Hit]], top: int) -> list[Hit]:
    """Return the best window of each of the `top` best files.

    search: returns that many windows, best first. It is called with more rows until `top` files are found.
    """
    rows = 2 * top + 8
    while True:
        hits = search(rows)
        best: dict[str, Hit] = {}
        for hit in hits:
            best.setdefault(hit.file, hit)
        if len(best) >= top or len(hits) < rows or rows >= 100_000:
            return list(best.values())[:top]
        rows *= 4


def unit_query(query: FloatArray, dim: int) -> FloatArray:
    """Return a query as (E,) float32 of length 1. Raises DataError if its shape is wrong or it is not finite."""
    query = np.asarray(query, np.float32)
    if query.shape != (dim,):
        raise DataError(f"query: a vector of shape {query.shape}; this library stores vectors of {dim} numbers")
    norm = float(np.linalg.norm(query))
    if not np.isfinite(norm) or norm < 1e-6:
        raise DataError("query: its parts cancel out or are not finite; change the words or weights")
    return query / np.float32(norm)
