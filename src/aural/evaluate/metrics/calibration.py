"""Compare predicted probabilities with observed shares.

Legend: N decisions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def calibration_error(
    probability: NDArray[Any], truth: NDArray[Any], bins: int = 15, weights: NDArray[Any] | None = None
) -> float:
    """Return the expected calibration error of N yes-or-no decisions, each counted with its weight.

    Formula: sum over bins of equal width of (decisions in the bin / N) * |mean probability - share of true ones|.

    Source: Naeini et al. 2015 (AAAI), Guo et al. 2017 (arXiv 1706.04599), section 2.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.1, 0.1]), np.array([1, 0, 0, 0])), 2)  # 0.4 / 2 + 0.1 / 2
    0.25
    """
    place = np.minimum((np.asarray(probability) * bins).astype(np.int64), bins - 1)
    weight = np.ones(len(place)) if weights is None else np.asarray(weights, np.float64)
    predicted, observed = (np.bincount(place, weight * np.asarray(values), bins) for values in (probability, truth))
    return float(np.abs(predicted - observed).sum() / weight.sum())
