"""Dynamic time warping: the distance of two sequences of frames that may run at different speeds.

Legend: A, B frames of two sequences, D features, N sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PAIRS_AT_ONCE = 512


def warped_distance(sequences: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the distances (N, N) of sequences (A, D) by dynamic time warping with cosine costs.

    Formula, with c_ij = 1 - cos(a_i, b_j) and steps to the right, down and diagonally:
        D_ij = c_ij + min(D_i-1,j, D_i,j-1, D_i-1,j-1), D_00 = c_00; distance = D_AB / (A + B)

    Source: Sakoe and Chiba 1978, symmetric form without slope constraint, steps of equal weight.

    >>> slow = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> warped_distance([slow, slow[1:]])  # equal but for their speed
    array([[0., 0.],
           [0., 0.]])
    """
    count = len(sequences)
    rows = [s / np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-12) for s in sequences]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    distances = np.zeros((count, count))
    for at in range(0, len(pairs), PAIRS_AT_ONCE):
        part = pairs[at : at + PAIRS_AT_ONCE]
        sizes = np.array([(len(rows[i]), len(rows[j])) for i, j in part])
        costs = np.full((len(part), *sizes.max(0)), np.inf)
        for n, (i, j) in enumerate(part):
            costs[n, : sizes[n, 0], : sizes[n, 1]] = 1 - rows[i] @ rows[j].T
        total = accumulated(costs)[np.arange(len(part)), sizes[:, 0] - 1, sizes[:, 1] - 1] / sizes.sum(1)
        for (i, j), value in zip(part, total, strict=True):
            distances[i, j] = distances[j, i] = value
    return distances


def accumulated(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lowest sums of costs (P, A, B) along paths from the first cell to every cell, (P, A, B)."""
    pairs, height, width = costs.shape
    sums = np.full((pairs, height + 1, width + 1), np.inf)
    sums[:, 0, 0] = 0.0
    for diagonal in range(height + width - 1):
        i = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        j = diagonal - i
        before = np.minimum(np.minimum(sums[:, i, j + 1], sums[:, i + 1, j]), sums[:, i, j])
        sums[:, i + 1, j + 1] = costs[:, i, j] + before
    return sums[:, 1:, 1:]
