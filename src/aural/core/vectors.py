"""Normalize embeddings to length 1 in numpy; `aural.nn.functional.unit` is the torch twin."""

from __future__ import annotations

from typing import Any

import numpy as np

from aural.core.types import FloatArray

SMALLEST_NORM = 1e-12
"""Norms below this value are replaced by it, so that a zero vector stays zero."""


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
