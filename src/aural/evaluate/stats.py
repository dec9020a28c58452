"""Intervals and paired tests: bootstrap over independent units, t intervals over seeds, McNemar's exact test, folds.

A unit is what was drawn independently: a clip, with all its captions or segments. Resamples draw units, not queries.

Legend: N items, U units, R resamples, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aural.evaluate.metrics.base import RESAMPLED, Arrays, Metric

RESAMPLES = 1000
COST = 2e10  # table cells over all resamples: large multi-label tasks get fewer resamples, at least LEAST
LEAST = 100
BLOCK = 2e5  # weights at once, about what the processor's cache holds


@dataclass(frozen=True, slots=True)
class Paired:
    """Difference b - a of two models on the same items, its 95% interval, and the two-sided p of no difference."""

    difference: float
    low: float
    high: float
    p: float


def resample(units: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the weights (N,) of one bootstrap resample: how often the unit of each item was drawn."""
    count = int(units.max(initial=-1)) + 1
    drawn = np.bincount(generator.integers(count, size=count), minlength=count)
    return drawn[units].astype(np.float64)


def resamples_for(arrays: Arrays) -> int:
    """Return the number of resamples: 1,000, or fewer where a large table of scores makes each one slow."""
    cells = arrays["scores"].size if "scores" in arrays else 1
    return int(np.clip(COST / max(cells, 1) / 10, LEAST, RESAMPLES))


def interval(
    metric: Metric,
    arrays: Arrays,
    generator: np.random.Generator,
    *,
    resamples: int | None = None,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a metric; `arrays["units"]` names the unit of each item.

    If every resample gives exactly 0 or exactly 1, the bootstrap has no spread. The exact binomial bound for none (or
    all) of U units correct (Clopper and Pearson 1934) is returned instead: 12 of 12 correct is [0.735, 1].

    Resampling raises mAP and AUROC (a rare class whose only clip is drawn twice gains precision), so their percentiles
    may miss the score itself. They are shifted back by the mean of the resamples minus the score.
    """
    scores = _draws(metric, arrays, generator, resamples or resamples_for(arrays))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(scores, [tail, 1 - tail]) if np.isfinite(scores).any() else (np.nan, np.nan)
    if low == high and low in (0.0, 1.0):
        bound = tail ** (1 / (int(arrays["units"].max()) + 1))
        return (0.0, 1 - bound) if low == 0 else (bound, 1.0)
    if metric in RESAMPLED:
        bias = float(np.nanmean(scores)) - metric(arrays, None)
        return max(0.0, float(low) - bias), min(1.0, float(high) - bias)
    return float(low), float(high)


def _draws(metric: Metric, arrays: Arrays, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.concatenate([_scores(metric, arrays, weights) for weights in _weights(arrays["units"], generator, count)])


def _weights(units: NDArray[np.int64], generator: np.random.Generator, count: int) -> Iterator[NDArray[np.float64]]:
    """Yield the weights (R, N) of `count` resamples in blocks that fit the processor's cache."""
    at_once = max(1, int(BLOCK / max(len(units), 1)))
    for start in range(0, count, at_once):
        yield np.stack([resample(units, generator) for _ in range(min(at_once, count - start))])


def _scores(metric: Metric, arrays: Arrays, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if metric in RESAMPLED:
        return RESAMPLED[metric](arrays, weights)
    return np.array([metric(arrays, one) for one in weights])


def paired(
    metric: Metric, a: Arrays, b: Arrays, generator: np.random.Generator, *, resamples: int | None = None
) -> Paired:
    """Compare two models by a paired bootstrap: both are scored on the same resamples.

    p is twice the smaller share of resamples on one side of zero. It is at least 1/resamples, since no smaller value
    can be claimed.
    """
    count = resamples or resamples_for(a)
    weights = _weights(a["units"], generator, count)
    differences = np.concatenate([_scores(metric, b, some) - _scores(metric, a, some) for some in weights])
    low, high = np.nanquantile(differences, [0.025, 0.975])
    below, above = np.mean(differences <= 0), np.mean(differences >= 0)
    p = min(1.0, max(2 * float(min(below, above)), 1 / count))
    return Paired(metric(b, None) - metric(a, None), float(low), float(high), p)


def t_interval(values: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval of the mean of S values, such as one difference per seed.

    mean +- t(S - 1) * s / sqrt(S), with the standard deviation s over S - 1. One value gives an infinite interval.

    >>> low, high = t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    from scipy.stats import t

    array = np.asarray(values, np.float64)
    if len(array) < 2:
        return float("-inf"), float("inf")
    half = float(t.ppf((1 + confidence) / 2, len(array) - 1)) * float(array.std(ddof=1)) / float(np.sqrt(len(array)))
    return float(array.mean()) - half, float(array.mean()) + half


def paired_mean_interval(
    differences: ArrayLike,
    ids: ArrayLike,
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean difference over items, averaged over seeds.

    differences: (S, N) or (N,), one value per seed and item. ids: (N,), the clip of each item; clips are drawn, each
    with all its items, and the same clips for every seed.
    """
    mean_over_seeds = np.atleast_2d(np.asarray(differences, np.float64)).mean(axis=0)
    units = np.unique(np.asarray(ids), return_inverse=True)[1].ravel().astype(np.int64)
    means = [weights @ mean_over_seeds / weights.sum(axis=1) for weights in _weights(units, generator, resamples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the exact two-sided p that two models are correct equally often.

    It is computed from the items that only one of them gets right.
    """
    from scipy.stats import binomtest

    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return 1.0 if only_a + only_b == 0 else float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def per_fold(metric: Metric, arrays: Arrays) -> dict[str, float]:
    """Return the metric of each fold, in the order of the folds' names; empty without folds."""
    folds = arrays.get("folds")
    if folds is None:
        return {}
    return {str(fold): metric(arrays, (folds == fold).astype(np.float64)) for fold in np.unique(folds)}


def mean_and_spread(scores: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n - 1) over folds or seeds; the deviation of one score is NaN."""
    values = np.asarray(scores, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")
