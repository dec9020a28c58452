"""Turn vectors into the 8-bit codes of the mapped index. Legend: N rows, E dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray


def codes(vectors: NDArray[Any], scale: float) -> NDArray[np.int8]:
    """Return vectors (N, E) times `scale` as 8-bit integers; larger parts become 127.

    >>> codes(np.array([[0.1, -0.2, 0.9]]), 200).tolist()
    [[20, -40, 127]]
    """
    scaled = np.rint(np.asarray(vectors, np.float32) * np.float32(scale))
    return np.clip(scaled, -127, 127).astype(np.int8)


def query_code(query: FloatArray) -> NDArray[np.int8]:
    """Return a query (E,) as 8-bit integers with a separate scale, because only the order of its scores counts.

    >>> query_code(np.float32([0.6, -0.8])).tolist()
    [95, -127]
    """
    return codes(query, 127 / float(np.abs(query).max()))
