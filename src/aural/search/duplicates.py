"""Find files of a library with the same sound: the same bytes, or nearly equal vectors and lengths.

Every file is compared with those that are at most 5% longer, in blocks, so memory is bounded by the files' vectors.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aural.core.errors import ConfigError
from aural.search.filters import FIRST_WINDOWS
from aural.search.library import Library
from aural.search.near import Groups, near_pairs


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
    groups = Groups(len(files))
    for i, j, cosine in near_pairs(vectors[order], lengths[order], near):
        if digest[files[i]] != digest[files[j]]:
            groups.join(i, j, cosine)
    close = [
        DuplicateGroup("near", tuple(sorted(path[files[i]] for i in members)), cosine)
        for members, cosine in groups.members()
    ]
    return sorted(same, key=lambda g: g.paths) + sorted(close, key=lambda g: (-g.cosine, g.paths))
