"""Files of a library that hold the same sound: the same bytes, or vectors that lie as near as `near` and equal lengths.

Every file is compared with those at most 5% longer, in blocks; memory is bounded by the files' own vectors.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from aural.core.errors import ConfigError
from aural.search.library import Library, any_window_zero, file_vectors

LENGTH_TOLERANCE: Final = 0.05
BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class Group:
    """Paths of files that hold one sound; `same` bytes, or `near` with the least cosine that joins them."""

    kind: Literal["same", "near"]
    paths: tuple[str, ...]
    cosine: float


def duplicates(library: Library, near: float = 0.99) -> list[Group]:
    """Groups of two or more files, the same bytes first."""
    if not 0 < near <= 1:
        raise ConfigError(f"near is {near}; a cosine must lie above 0 and at most at 1")
    table = library.store.rows(["file", "path", "hash", "duration"], any_window_zero()).to_pydict()
    path = dict(zip(table["file"], table["path"], strict=True))
    duration = dict(zip(table["file"], table["duration"], strict=True))
    by_hash: dict[str, list[str]] = defaultdict(list)
    for file, digest in zip(table["file"], table["hash"], strict=True):
        by_hash[digest].append(path[file])
    same = [Group("same", tuple(sorted(paths)), 1.0) for paths in by_hash.values() if len(paths) > 1]
    digests = dict(zip(table["file"], table["hash"], strict=True))
    files, vectors = file_vectors(library.store.rows(["file", "window", "end", "vector"]), library.card.embed_dim)
    lengths = np.array([duration[file] for file in files], np.float64)
    order = np.argsort(lengths, kind="stable")
    files, vectors, lengths = [files[i] for i in order], vectors[order], lengths[order]
    parent, least = list(range(len(files))), [1.0] * len(files)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for first in range(0, len(files), BLOCK):
        last = min(first + BLOCK, len(files))
        end = int(np.searchsorted(lengths, lengths[last - 1] * (1 + LENGTH_TOLERANCE), side="right"))
        cosines = vectors[first:last] @ vectors[first:end].T
        for i, j in np.argwhere(cosines >= near):
            a, b = first + int(i), first + int(j)
            if b > a and lengths[b] <= lengths[a] * (1 + LENGTH_TOLERANCE) and digests[files[a]] != digests[files[b]]:
                one, other = sorted((root(a), root(b)))
                parent[other] = one
                least[one] = min(least[one], least[other], float(cosines[i, j]))
    joined: dict[int, list[str]] = defaultdict(list)
    for i, file in enumerate(files):
        joined[root(i)].append(path[file])
    close = [Group("near", tuple(sorted(p)), least[i]) for i, p in joined.items() if len(p) > 1]
    return sorted(same, key=lambda g: g.paths) + sorted(close, key=lambda g: (-g.cosine, g.paths))
