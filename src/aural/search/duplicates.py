"""Find files of a library with the same sound: the same bytes, or nearly equal vectors and lengths.

Every file is compared with those that are at most 5% longer, in blocks, so memory is bounded by the files' vectors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError
from aural.core.types import FloatArray
from aural.search.filters import FIRST_WINDOWS
from aural.search.library import Library

LENGTH_TOLERANCE: Final = 0.05
BLOCK_FILES: Final = 512


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """The paths of files with one sound: the "same" bytes, or "near" vectors with the least cosine that joins them."""

    kind: Literal["same", "near"]
    paths: tuple[str, ...]
    cosine: float


def duplicates(library: Library, near: float = 0.99) -> list[DuplicateGroup]:
    """Return groups of two or more files with one sound, those with the same bytes first.

    near: least cosine of the vectors of files that count as one sound.
    """
    if not 0 < near <= 1:
        raise ConfigError(f"near is {near}; a cosine must be above 0 and at most 1")
    columns = library.store.rows(["file", "path", "hash", "duration"], FIRST_WINDOWS).to_pydict()
    path = dict(zip(columns["file"], columns["path"], strict=True))
    digest = dict(zip(columns["file"], columns["hash"], strict=True))
    duration = dict(zip(columns["file"], columns["duration"], strict=True))
    by_hash: dict[str, list[str]] = defaultdict(list)
    for file, value in digest.items():
        by_hash[value].append(path[file])
    same = [DuplicateGroup("same", tuple(sorted(paths)), 1.0) for paths in by_hash.values() if len(paths) > 1]

    files, vectors = library.all_file_vectors()
    lengths = np.array([duration[file] for file in files], np.float64)
    order = np.argsort(lengths, kind="stable")
    files = [files[i] for i in order]
    groups = _Groups(len(files))
    for i, j, cosine in _near_pairs(vectors[order], lengths[order], near):
        if digest[files[i]] != digest[files[j]]:
            groups.join(i, j, cosine)
    close = [
        DuplicateGroup("near", tuple(sorted(path[files[i]] for i in members)), cosine)
        for members, cosine in groups.members()
    ]
    return sorted(same, key=lambda g: g.paths) + sorted(close, key=lambda g: (-g.cosine, g.paths))


def _near_pairs(vectors: FloatArray, lengths: NDArray[np.float64], near: float) -> Iterator[tuple[int, int, float]]:
    """Yield pairs (i, j, cosine) with i < j of files sorted by length whose vectors and lengths are close."""
    for first in range(0, len(vectors), BLOCK_FILES):
        last = min(first + BLOCK_FILES, len(vectors))
        end = int(np.searchsorted(lengths, lengths[last - 1] * (1 + LENGTH_TOLERANCE), side="right"))
        cosines = vectors[first:last] @ vectors[first:end].T
        for row, column in np.argwhere(cosines >= near):
            i, j = first + int(row), first + int(column)
            if j > i and lengths[j] <= lengths[i] * (1 + LENGTH_TOLERANCE):
                yield i, j, float(cosines[row, column])


class _Groups:
    """A union-find structure that keeps the least cosine of each group."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._cosine = [1.0] * count

    def join(self, i: int, j: int, cosine: float) -> None:
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
