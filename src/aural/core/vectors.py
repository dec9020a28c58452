"""Normalize embeddings to length 1 in numpy (`aural.nn.functional.unit` is the torch twin), and check them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AudioError
from aural.core.types import FloatArray

SMALLEST_NORM = 1e-12
"""Norms below this value are replaced by it, so that a zero vector stays zero."""

LOUD = 1e4
"""Samples above this value are the likely cause of an invalid vector; full scale is 1."""


def mean_cosine(rows: FloatArray) -> float:
    """Return the mean cosine of all pairs of different rows (N, E); 0 for random directions, 1 for a collapsed tower.

    It is (|sum of rows|^2 - N) / (N (N - 1)), the anisotropy of Ethayarajh (arXiv 1909.00512).

    >>> mean_cosine(np.eye(3))
    0.0
    >>> mean_cosine(np.ones((4, 1)))
    1.0
    """
    count = len(rows)
    total = np.asarray(rows, np.float64).sum(axis=0)
    return float((total @ total - count) / (count * (count - 1)))


def unit_rows(x: Any) -> FloatArray:
    """Return the rows of `x` (..., E) divided by their Euclidean norm, as float32.

    A row of zeros stays zero.

    >>> unit_rows([[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    rows = np.asarray(x)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), SMALLEST_NORM)
    return unit.astype(np.float32, copy=False)


def unit_vector(x: Any) -> FloatArray:
    """Return one vector (E,) divided by its Euclidean norm, as float32.

    The norm is a dot product, which may differ in the last bit from the row-wise sum of `unit_rows`.

    >>> unit_vector([3.0, 4.0]).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    vector = np.asarray(x)
    unit = vector / max(float(np.linalg.norm(vector)), SMALLEST_NORM)
    return unit.astype(np.float32, copy=False)


def nearest_others(rows: FloatArray, count: int, *, block: int = 1024) -> NDArray[np.int64]:
    """Return the places (N, count) of the nearest other rows of each unit row (N, E), in no order.

    block: rows that are compared at once.

    >>> nearest_others(unit_rows([[1, 0], [0.9, 0.1], [0, 1]]), 1).ravel().tolist()
    [1, 0, 1]
    """
    parts = list[NDArray[np.int64]]()
    for first in range(0, len(rows), block):
        cosines = rows[first : first + block] @ rows.T
        at = np.arange(len(cosines))
        cosines[at, first + at] = -np.inf
        parts.append(np.argpartition(-cosines, count - 1, axis=1)[:, :count])
    return np.concatenate(parts)


def shared_neighbors(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the mean share of neighbors (N, K) that are the same in two lists of `nearest_others`.

    >>> shared_neighbors(np.array([[1, 2], [0, 2]]), np.array([[2, 1], [3, 2]]))
    0.75
    """
    pairs = zip(first, second, strict=True)
    return float(np.mean([len(np.intersect1d(a, b, assume_unique=True)) / first.shape[1] for a, b in pairs]))


def check_vector(vector: FloatArray, name: str, samples: FloatArray | None = None) -> None:
    """Raise AudioError if a sound's vector (E,) is NaN, infinite or zero, so that nobody stores or ranks it.

    Every model and every user of a third-party `Embedder` calls this. name: the sound in the error. samples: what the
    vector was computed from, to name the cause.

    >>> check_vector(unit_vector([3.0, 4.0]), "rain.wav")
    """
    if 0 < float(np.linalg.norm(vector)) < np.inf:
        return
    peak = 0.0 if samples is None else float(np.abs(samples).max(initial=0.0))
    if peak <= LOUD:
        reason = "; the sound may be too loud, or the weights of the model damaged"
    else:
        reason = f", because its samples reach {peak:.3g} where full scale is 1; scale the sound down"
    raise AudioError(f"{name}: the model computes no valid vector for it{reason}")
