"""Metrics of sentence vectors: Spearman's correlation with gold similarity, reciprocal ranks, and alignment.

Legend: N items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.metrics.base import METRICS, Arrays, Weights, item_metric

Values = NDArray[np.float64]


def weighted_spearman(x: Values, y: Values, weights: Weights = None) -> float:
    """Return Spearman's rank correlation of items that count `weights` times (N,); ties have their mean rank.

    Integer weights give the correlation of the repeated items.
    """
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    a, b = (_weighted_ranks(values, w) for values in (x, y))
    a, b = (values - w @ values / w.sum() for values in (a, b))
    spread = np.sqrt((w @ a**2) * (w @ b**2))
    return float(w @ (a * b) / spread) if spread > 0 else 0.0


def _weighted_ranks(values: Values, weights: Values) -> Values:
    """Return the mean rank (N,) of each value among values that come `weights` times."""
    _, group = np.unique(values, return_inverse=True)
    total = np.bincount(group, weights)
    before = np.cumsum(total) - total
    ranks: Values = (before + (total + 1) / 2)[group]
    return ranks


def _spearman(arrays: Arrays, weights: Weights = None) -> float:
    """Spearman's rank correlation of predicted and gold similarity."""
    return weighted_spearman(arrays["predicted"], arrays["gold"], weights)


METRICS.add("spearman", _spearman)


@item_metric("MRR@10", "MRR@10: mean over queries of 1 / rank of the first relevant document, 0 beyond rank 10.")
def _reciprocal(arrays: Arrays) -> NDArray[Any]:
    first = arrays["first"]
    return np.where(first <= 10, 1.0 / first, 0.0)


def _alignment(arrays: Arrays, weights: Weights = None) -> float:
    """Alignment: mean squared distance of unit vectors of texts of equal meaning; smaller is better."""
    equal = arrays["gold"] == arrays["gold"].max()
    values = 2.0 - 2.0 * arrays["predicted"][equal]
    return float(np.average(values, weights=None if weights is None else weights[equal]))


METRICS.add("alignment", _alignment)
