"""Turn vectors into the 8-bit codes of the graph index, and its constants.

Legend: N rows, E dimensions.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NEIGHBORS: Final = 16
"""Neighbors per vector in the upper levels of the graph; twice as many in the lowest."""
ADD_CANDIDATES: Final = 128
"""Candidates that are looked at when a vector is added."""


def codes(vectors: NDArray[Any], scale: float) -> NDArray[np.int8]:
    """Return vectors (N, E) times `scale` as 8-bit integers; larger parts become 127.

    >>> codes(np.array([[0.1, -0.2, 0.9]]), 200).tolist()
    [[20, -40, 127]]
    """
    scaled = np.rint(np.asarray(vectors, np.float32) * np.float32(scale))
    return np.clip(scaled, -127, 127).astype(np.int8)
