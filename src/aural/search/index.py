"""What every index can do, and the exact one in memory: the oracle that the store is held to.

Legend: N rows (one row = one window of a file), E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.search.where import COLUMNS, Condition


@dataclass(frozen=True, slots=True)
class Hit:
    """One window of one file and how near it lies: `score` is the cosine with the query; times in seconds."""

    file: str
    path: str
    window: int
    start_s: float
    end_s: float
    duration_s: float
    score: float
    silent: bool = False
    tags: tuple[str, ...] = ()


@runtime_checkable
class Index(Protocol):
    """Rows that can be searched by a vector; the same questions get the same answers from every index."""

    def search(self, query: FloatArray, top: int, where: Condition | None = None) -> list[Hit]:
        """The `top` rows nearest to the unit vector `query` (E,) that meet `where`, best first."""
        ...

    def count(self, where: Condition | None = None) -> int:
        """Rows that meet `where`."""
        ...


class ExactIndex:
    """All rows in memory, every row compared: `vectors` (N, E) unit rows and `columns`, one (N,) array a column."""

    def __init__(self, vectors: FloatArray, columns: Mapping[str, NDArray[Any]]) -> None:
        missing = sorted(set(COLUMNS) - set(columns))
        if missing:
            raise DataError(f"index: column {missing[0]} is missing")
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._columns = dict(columns)
        files = np.array([str(file) for file in columns["file"]], object)
        self._rank = np.empty(len(files), np.int64)
        self._rank[np.lexsort((columns["window"], files))] = np.arange(len(files))  # ties are told in this order

    @property
    def vectors(self) -> FloatArray:
        """(N, E) unit rows."""
        return self._vectors

    def search(self, query: FloatArray, top: int, where: Condition | None = None) -> list[Hit]:
        """See `Index`. Rows equally near are told in the order of file and window."""
        query = unit_query(query, self._vectors.shape[1])
        rows = np.arange(len(self._vectors)) if where is None else np.flatnonzero(where.mask(self._columns))
        scores = self._vectors[rows] @ query
        order = np.lexsort((self._rank[rows], -scores))[:top]
        return [self._hit(int(rows[i]), float(scores[i])) for i in order]

    def count(self, where: Condition | None = None) -> int:
        """See `Index`."""
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


def unit_query(query: FloatArray, dim: int) -> FloatArray:
    """A query checked: (E,) float32, finite, of length 1."""
    query = np.asarray(query, np.float32)
    if query.shape != (dim,):
        raise DataError(f"query: a vector of shape {query.shape}; this library holds vectors of {dim} numbers")
    norm = float(np.linalg.norm(query))
    if not np.isfinite(norm) or norm < 1e-6:
        raise DataError("query: its parts cancel out or are not numbers; change the words or weights")
    return query / np.float32(norm)
