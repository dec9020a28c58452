"""Intervals and paired tests: percentile bootstrap over independent units, McNemar's exact test, folds.

A unit is what was drawn independently: a clip, with all its captions or segments. Resamples draw units, not queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.metrics import RESAMPLED, Arrays, Metric

RESAMPLES = 1000
COST = 2e10  # table cells over all resamples: large multi-label tasks get fewer resamples, at least LEAST
LEAST = 100
BLOCK = 2e5  # weights at once, about what the processor's cache holds


@dataclass(frozen=True, slots=True)
class Paired:
    """Difference of two models on the same items: b - a, its 95% interval, and the two-sided p of no difference."""

    difference: float
    low: float
    high: float
    p: float


def resample(units: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Weights (N,) of one bootstrap resample: how often the unit of each item was drawn."""
    count = int(units.max(initial=-1)) + 1
    drawn = np.bincount(generator.integers(count, size=count), minlength=count)
    return drawn[units].astype(np.float64)


def resamples_for(arrays: Arrays) -> int:
    """Number of resamples: 1,000, fewer where a table of scores makes each one dear."""
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
    """Percentile bootstrap interval of a metric; `arrays["units"]` tells which items belong together.

    Where every resample gives exactly 0 or exactly 1 the bootstrap knows no doubt; the exact binomial bound for none
    (or all) of so many units right (Clopper and Pearson 1934) is given instead: 12 of 12 right is [0.735, 1].

    mAP and AUROC are lifted by resampling (a rare class whose only clip is drawn twice gains precision), so that the
    percentiles may miss the score itself; theirs are shifted back by the mean of the resamples less the score.
    """
    scores = _draws(metric, arrays, generator, resamples or resamples_for(arrays))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(scores, [tail, 1 - tail]) if np.isfinite(scores).any() else (np.nan, np.nan)
    if low == high and low in (0.0, 1.0):
        bound = tail ** (1 / (int(arrays["units"].max()) + 1))
        return (0.0, 1 - bound) if low == 0 else (bound, 1.0)
    if metric in RESAMPLED:
        lifted = float(np.nanmean(scores)) - metric(arrays, None)
        return max(0.0, float(low) - lifted), min(1.0, float(high) - lifted)
    return float(low), float(high)


def _draws(metric: Metric, arrays: Arrays, generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.concatenate([_scores(metric, arrays, some) for some in _weights(arrays, generator, count)])


def _weights(arrays: Arrays, generator: np.random.Generator, count: int) -> Iterator[NDArray[np.float64]]:
    """Weights (R, N) of `count` resamples, as many at once as the processor's cache holds."""
    at_once = max(1, int(BLOCK / max(len(arrays["units"]), 1)))
    for start in range(0, count, at_once):
        yield np.stack([resample(arrays["units"], generator) for _ in range(min(at_once, count - start))])


def _scores(metric: Metric, arrays: Arrays, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if metric in RESAMPLED:
        return RESAMPLED[metric](arrays, weights)
    return np.array([metric(arrays, one) for one in weights])


def paired(
    metric: Metric, a: Arrays, b: Arrays, generator: np.random.Generator, *, resamples: int | None = None
) -> Paired:
    """Paired bootstrap: both models are scored on the same resamples.

    p is twice the smaller share of resamples on one side of zero, at least 1/resamples: no smaller one can be claimed.
    """
    count = resamples or resamples_for(a)
    parts = [_scores(metric, b, some) - _scores(metric, a, some) for some in _weights(a, generator, count)]
    differences = np.concatenate(parts)
    low, high = np.nanquantile(differences, [0.025, 0.975])
    below, above = np.mean(differences <= 0), np.mean(differences >= 0)
    p = min(1.0, max(2 * float(min(below, above)), 1 / count))
    return Paired(metric(b, None) - metric(a, None), float(low), float(high), p)


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Exact two-sided p that two models are right equally often, from the items that only one of them gets right."""
    from scipy.stats import binomtest

    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    return 1.0 if only_a + only_b == 0 else float(binomtest(only_a, only_a + only_b, 0.5).pvalue)


def per_fold(metric: Metric, arrays: Arrays) -> dict[str, float]:
    """The metric of each fold, in order of the folds' names; empty without folds."""
    folds = arrays.get("folds")
    if folds is None:
        return {}
    return {str(fold): metric(arrays, (folds == fold).astype(np.float64)) for fold in np.unique(folds)}


def mean_and_spread(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) over folds or seeds; the deviation of one score is NaN."""
    values = np.asarray(scores, np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")
