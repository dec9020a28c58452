"""Registry and types of metrics. A metric is a pure function of stored predictions under one exact name.

A metric takes `arrays` (what a runner stores for a task) and `weights` (one per item: how often a bootstrap resample
drew it; None means once each) and returns one number. A score, its interval and a paired test therefore use the same
function, and stored predictions can be scored again without the model.

Legend: N items (clips, queries, pairs or segments), R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.registry import Registry

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Weights: TypeAlias = NDArray[np.float64] | None
Metric: TypeAlias = Callable[[Arrays, Weights], float]

METRICS: Registry[Metric] = Registry("metric")

RESAMPLED: dict[Metric, Callable[[Arrays, NDArray[np.float64]], NDArray[np.float64]]] = {}
"""Metric -> the same metric for many resamples at once: weights (R, N) to values (R,)."""


class ItemMetric:
    """A metric that is the mean of one value per item.

    `values(arrays)` returns the (N,) values, so that effects and paired tests can be computed per item.
    """

    def __init__(self, values: Callable[[Arrays], NDArray[Any]], description: str) -> None:
        self.values = values
        self.__doc__ = description

    def __call__(self, arrays: Arrays, weights: Weights = None) -> float:
        return weighted_mean(self.values(arrays), weights)


def item_metric(name: str, description: str) -> Callable[[Callable[[Arrays], NDArray[Any]]], ItemMetric]:
    """Register a function from arrays to (N,) values as an `ItemMetric`."""

    def register(values: Callable[[Arrays], NDArray[Any]]) -> ItemMetric:
        metric = ItemMetric(values, description)
        METRICS.add(name, metric)
        return metric

    return register


def stored_values(name: str, key: str, description: str) -> ItemMetric:
    """Register the mean of the stored array `key`."""

    def values(arrays: Arrays) -> NDArray[Any]:
        return arrays[key]

    return item_metric(name, description)(values)


def weighted_mean(values: NDArray[Any], weights: Weights = None) -> float:
    """Return the weighted mean of the values; NaN if the weights sum to 0."""
    if weights is None:
        return float(np.mean(values)) if len(values) else float("nan")
    total = float(weights.sum())
    return float(weights @ values.astype(np.float64)) / total if total else float("nan")
