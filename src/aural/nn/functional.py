"""Functions without parameters that several modules share."""

from __future__ import annotations

from torch import Tensor, nn


def unit(x: Tensor) -> Tensor:
    """Return the rows of `x` (..., E) divided by their Euclidean norm; a row of zeros stays zero.

    The numpy twin is `aural.core.vectors.unit_rows`.
    """
    return nn.functional.normalize(x, dim=-1)
