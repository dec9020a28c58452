"""Compare files by their vectors: one vector per file, pairs that are close, and groups of them.

Legend: F files, E joint dimensions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.core.vectors import unit_rows
from aural.search.lance import column_of, vectors_of

if TYPE_CHECKING:
    import pyarrow as pa

LENGTH_TOLERANCE: Final = 0.05
"""Part by which the longer of two near files may be longer."""
BLOCK_FILES: Final = 512


def file_vectors(table: pa.Table, embed_dim: int) -> tuple[list[str], FloatArray]:
    """Return the ids of the files of a table and their unit vectors (F, E).

    A file's vector is the sum of its windows' vectors, each weighted by the seconds that no earlier window contains,
    scaled to length 1. The table needs the columns file, window, end and vector.
    """
    table = table.sort_by([("file", "ascending"), ("window", "ascending")])
    files = column_of(table, "file")
    ends = table["end"].to_numpy()
    if not len(files):
        return [], np.empty((0, embed_dim), np.float32)
    firsts = np.flatnonzero(np.r_[True, files[1:] != files[:-1]])
    fresh = np.diff(ends, prepend=0.0)
    fresh[firsts] = ends[firsts]
    sums = np.add.reduceat(vectors_of(table, embed_dim) * fresh[:, None].astype(np.float32), firsts, axis=0)
    return [str(name) for name in files[firsts]], unit_rows(sums)


def near_pairs(
    vectors: FloatArray, lengths: NDArray[np.float64], near: float, fresh: NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs (i, j, cosine) of files whose lengths are within 5% and whose cosine is at least `near`.

    vectors: (F, E) unit rows. lengths: (F,) in ascending order. fresh: (F,) marks files; only pairs with one of them
    are compared, in blocks, so memory is bounded by the vectors. Each pair is yielded once.
    """
    rows = np.arange(len(vectors)) if fresh is None else np.flatnonzero(fresh)
    for first in range(0, len(rows), BLOCK_FILES):
        block = rows[first : first + BLOCK_FILES]
        # with `fresh`, shorter files that are not fresh are compared too
        start = block[0] if fresh is None else np.searchsorted(lengths, lengths[block[0]] / (1 + LENGTH_TOLERANCE))
        end = np.searchsorted(lengths, lengths[block[-1]] * (1 + LENGTH_TOLERANCE), side="right")
        cosines = vectors[block] @ vectors[start:end].T
        for row, column in np.argwhere(cosines >= near):
            i, j = int(block[row]), int(start + column)
            if i == j or (j < i and (fresh is None or fresh[j])):
                continue
            if max(lengths[i], lengths[j]) <= min(lengths[i], lengths[j]) * (1 + LENGTH_TOLERANCE):
                yield i, j, float(cosines[row, column])


class Groups:
    """A union-find structure that keeps the least cosine of each group."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._cosine = [1.0] * count

    def join(self, i: int, j: int, cosine: float = 1.0) -> None:
        """Put two members into one group."""
        first, second = sorted((self._root(i), self._root(j)))
        self._parent[second] = first
        self._cosine[first] = min(self._cosine[first], self._cosine[second], cosine)

    def members(self) -> Iterator[tuple[list[int], float]]:
        """Yield the members and the least cosine of every group of two or more."""
        joined: dict[int, list[int]] = defaultdict(list)
        for i in range(len(self._parent)):
            joined[self._root(i)].append(i)
        yield from ((members, self._cosine[root]) for root, members in joined.items() if len(members) > 1)

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i
