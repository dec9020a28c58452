"""Check the rows of a library: every file with all its windows, ids, times, unit vectors and digests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from aural.search.lance import LanceStore, column_of, vectors_of
from aural.search.locations import file_id
from aural.search.row_digests import DIGEST, digests

if TYPE_CHECKING:
    import pyarrow as pa

NORM_TOLERANCE: Final = 1e-3
TIME_TOLERANCE_S: Final = 1e-6
ORDER: Final = [("file", "ascending"), ("window", "ascending")]


def sorted_rows(store: LanceStore) -> pa.Table:
    """Return all rows with all columns, sorted by file and window."""
    return store.rows(store.columns).sort_by(ORDER)


def row_problems(table: pa.Table, embed_dim: int) -> dict[str, str]:
    """Return what is wrong with each damaged file of a table, by its id.

    The table has all columns and is sorted by file and window.
    """
    problems: dict[str, str] = {}
    if not table.num_rows:
        return problems
    files, paths, window = (column_of(table, name) for name in ("file", "path", "window"))
    starts, ends, durations = (column_of(table, name) for name in ("start", "end", "duration"))
    for row in np.flatnonzero(bad_vectors(table, embed_dim)):
        problems[files[row]] = "the vector of a window is not of length 1"
    if DIGEST in table.schema.names:
        for row in np.flatnonzero(digests(table) != table[DIGEST].to_numpy()):
            problems.setdefault(files[row], "a window changed since it was added")
    firsts = first_rows(table)
    lasts = np.r_[firsts[1:], len(files)] - 1
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        file = files[first]
        if not np.array_equal(window[first : last + 1], np.arange(last - first + 1)):
            problems[file] = "its windows are not each there once"
        elif abs(ends[last] - durations[first]) > TIME_TOLERANCE_S or starts[first] != 0:
            problems[file] = "its windows do not cover it from start to end"
        if any(file != file_id(path) for path in set(paths[first : last + 1])):
            problems[file] = "its id does not follow from its path"
    return problems


def first_rows(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the number of the first row of every file of a sorted table (F,)."""
    files = column_of(table, "file")
    return np.flatnonzero(np.r_[True, files[1:] != files[:-1]]) if len(files) else np.empty(0, np.int64)


def bad_vectors(table: pa.Table, embed_dim: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return for every row (N,) whether its vector is not finite or not of length 1."""
    norms = np.linalg.norm(vectors_of(table, embed_dim).astype(np.float64), axis=1)
    return np.asarray(~(np.abs(norms - 1) <= NORM_TOLERANCE))
