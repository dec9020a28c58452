"""Divide vectors into lists of similar ones, and lay their 8-bit codes out list by list.

A search then reads a few contiguous lists instead of every code. The lists are those of k-means on a sample; a vector
belongs to the nearest center. Legend: S slots, E dimensions, K lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.search.mapped_codes import codes

LISTS_PER_ROOT: Final = 4
"""Lists per square root of the number of vectors."""
TRAINED_ROWS: Final = 40
"""Vectors per list that k-means sees."""
ROUNDS: Final = 6
BLOCK_ROWS: Final = 8_192
"""Rows that are compared with the centers, or written, at once."""

Halves = NDArray[np.float16]


@dataclass(frozen=True)
class Lists:
    """The centers (K, E) of lists, and the list of each vector (S,)."""

    centers: FloatArray
    of_slot: NDArray[np.int32]

    def write(self, path: Path, scale: float) -> NDArray[np.int64]:
        """Write the lists, and return the slots in the order of the codes (S,)."""
        order = np.argsort(self.of_slot, kind="stable")
        bounds = np.searchsorted(self.of_slot[order], np.arange(len(self.centers) + 1))
        center_codes = codes(self.centers, scale)
        with path.open("wb") as file:
            np.savez(file, centers=self.centers, center_codes=center_codes, bounds=bounds, order=order.astype(np.int32))
        return order


def read_lists(path: Path) -> Lists:
    """Return the lists that `Lists.write` wrote."""
    with np.load(path) as stored:
        of_slot = np.empty(len(stored["order"]), np.int32)
        of_slot[stored["order"]] = np.repeat(np.arange(len(stored["centers"])), np.diff(stored["bounds"]))
        return Lists(stored["centers"], of_slot)


def new_lists(vectors: Halves) -> Lists:
    """Return lists of vectors (S, E), trained on a sample of them."""
    count = max(1, round(LISTS_PER_ROOT * len(vectors) ** 0.5))
    draw = np.random.default_rng(0)
    sample = np.sort(draw.permutation(len(vectors))[: TRAINED_ROWS * count])
    rows = vectors[sample].astype(np.float32)
    centers = rows[np.sort(draw.permutation(len(rows))[:count])]
    for _ in range(ROUNDS):
        nearest = _nearest(rows, centers)
        order = np.argsort(nearest, kind="stable")
        sizes = np.bincount(nearest, minlength=len(centers))
        filled = sizes > 0
        starts = np.r_[0, np.cumsum(sizes)[:-1]]
        centers[filled] = np.add.reduceat(rows[order], starts[filled], axis=0) / sizes[filled, None]
        centers[~filled] = rows[draw.integers(0, len(rows), int((~filled).sum()))]
    return Lists(centers, _nearest(vectors, centers))


def extended(lists: Lists, vectors: Halves) -> Lists:
    """Return lists with further vectors, whose slots follow the present ones; the centers stay."""
    return Lists(lists.centers, np.concatenate([lists.of_slot, _nearest(vectors, lists.centers)]))


def _nearest(vectors: FloatArray | Halves, centers: FloatArray) -> NDArray[np.int32]:
    """Return the number of the nearest center of each vector."""
    nearest = np.empty(len(vectors), np.int32)
    half_squares = 0.5 * np.einsum("ke,ke->k", centers, centers)
    for start in range(0, len(vectors), BLOCK_ROWS):
        block = vectors[start : start + BLOCK_ROWS].astype(np.float32)
        nearest[start : start + len(block)] = np.argmax(block @ centers.T - half_squares, axis=1)
    return nearest


def write_codes(path: Path, vectors: Halves, order: NDArray[np.int64], scale: float) -> None:
    """Write the codes of vectors in this order as an array (S, E) that can be mapped."""
    out = np.lib.format.open_memmap(path, "w+", np.int8, vectors.shape)
    for start in range(0, len(order), BLOCK_ROWS):
        out[start : start + BLOCK_ROWS] = codes(vectors[order[start : start + BLOCK_ROWS]], scale)
    out.flush()


def best_of(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return the places of the `count` highest scores, in no particular order."""
    return np.arange(len(scores)) if len(scores) <= count else np.argpartition(-scores, count)[:count]


def dots(query: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Return the inner products (N,) of a row (E,) with rows (N, E) of 8 bits or float16."""
    from numkong import cdist

    return np.asarray(cdist(query[None], rows, metric="dot", threads=1))[0]
