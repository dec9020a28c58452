"""Metrics of class labels.

Single-label tasks store targets (N,) and predicted (N,), both class numbers. Multi-label tasks store targets (N, K) of
0 and 1, scores (N, K) and threshold (N,).

Legend: N items (clips or segments), K classes, R resamples, G groups of equal score.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.metrics.base import METRICS, RESAMPLED, Arrays, Weights, item_metric


@item_metric("accuracy", "Share of items whose predicted class is the true one.")
def accuracy(arrays: Arrays) -> NDArray[Any]:
    """Return whether each item's predicted class is the true one."""
    return arrays["predicted"] == arrays["targets"]


@METRICS.register("macro-f1")
def macro_f1(arrays: Arrays, weights: Weights = None) -> float:
    """F1 per class that occurs in truth or prediction, averaged over these classes."""
    targets, predicted = arrays["targets"], arrays["predicted"]
    w = np.ones(len(targets)) if weights is None else weights
    size = int(max(targets.max(initial=0), predicted.max(initial=0))) + 1
    hits = np.bincount(targets, w * (targets == predicted), size)
    both = np.bincount(targets, w, size) + np.bincount(predicted, w, size)
    return float(np.mean(2 * hits[both > 0] / both[both > 0])) if (both > 0).any() else float("nan")


@METRICS.register("mAP")
def mean_average_precision(arrays: Arrays, weights: Weights = None) -> float:
    """Mean over classes with a positive of the average precision (the step-wise sum, without interpolation)."""
    return float(_mean_of_defined(average_precision(arrays["targets"], arrays["scores"], weights)))


@METRICS.register("AUROC")
def mean_auroc(arrays: Arrays, weights: Weights = None) -> float:
    """Mean over classes of the area under the ROC curve; ties count half."""
    return float(_mean_of_defined(auroc(arrays["targets"], arrays["scores"], weights)))


RESAMPLED[mean_average_precision] = lambda a, w: _mean_of_defined(average_precision(a["targets"], a["scores"], w))
RESAMPLED[mean_auroc] = lambda a, w: _mean_of_defined(auroc(a["targets"], a["scores"], w))


@METRICS.register("micro-F1")
def micro_f1(arrays: Arrays, weights: Weights = None) -> float:
    """F1 over all decisions (clip, class); a class is predicted where its score exceeds the clip's threshold."""
    hits, wrong, missed = (counts.sum() for counts in _decisions(arrays, weights))
    return float(2 * hits / (2 * hits + wrong + missed)) if hits + wrong + missed else float("nan")


@METRICS.register("class-F1")
def class_f1(arrays: Arrays, weights: Weights = None) -> float:
    """F1 per class over the clips, averaged over classes that are true or predicted at least once."""
    hits, wrong, missed = _decisions(arrays, weights)
    some = hits + wrong + missed > 0
    return float(np.mean(2 * hits[some] / (2 * hits + wrong + missed)[some])) if some.any() else float("nan")


def _decisions(arrays: Arrays, weights: Weights) -> tuple[NDArray[np.float64], ...]:
    """Return the weighted true positives, false positives and false negatives per class, each (K,)."""
    targets = arrays["targets"].astype(bool)
    predicted = arrays["scores"] > arrays["threshold"][:, None]
    w = np.ones(len(targets)) if weights is None else weights
    return w @ (targets & predicted), w @ (~targets & predicted), w @ (targets & ~predicted)


def _mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over classes, ignoring NaN: (..., K) to (...); NaN where every class is NaN."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1)
    return mean


def average_precision(targets: NDArray[Any], scores: NDArray[Any], weights: Weights = None) -> NDArray[np.float64]:
    """Return the average precision per class, (K,), or (R, K) for weights (R, N) of R resamples.

    The value is the sum over thresholds of (recall gained) x precision; items of equal score enter together. It is NaN
    for a class without a positive. Equal to `sklearn.metrics.average_precision_score` with sample_weight.
    """
    return _by_class(_average_precision, targets, scores, weights)


def auroc(targets: NDArray[Any], scores: NDArray[Any], weights: Weights = None) -> NDArray[np.float64]:
    """Return the area under the ROC curve per class, (K,), or (R, K) for weights (R, N) of R resamples.

    The area is summed by trapezoids over groups of equal score. It is NaN for a class without a positive or without a
    negative.
    """
    return _by_class(_auroc, targets, scores, weights)


def _by_class(area: Any, targets: NDArray[Any], scores: NDArray[Any], weights: Weights) -> NDArray[np.float64]:
    """Compute one area per class and resample. Each class is sorted once for all resamples.

    Only groups of equal score that hold a positive matter, so weights are summed from one such group to the next.
    """
    w = np.ones((len(targets), 1)) if weights is None else np.ascontiguousarray(np.atleast_2d(weights).T)
    result = np.full((w.shape[1], targets.shape[1]), np.nan)
    for k in range(targets.shape[1]):
        order = np.argsort(-scores[:, k], kind="stable")
        ordered, positive = scores[order, k], np.flatnonzero(targets[order, k] > 0)
        if not len(positive):
            continue
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # of groups of equal score
        group, first = np.unique(np.searchsorted(starts, positive, side="right") - 1, return_index=True)
        begin, end = starts[group], np.append(starts[1:], len(order))[group]
        edges = np.unique(np.concatenate([[0], begin, end, [len(order)]]))
        sums = np.add.reduceat(w[order], edges[:-1], axis=0)
        cumulated = np.concatenate([np.zeros((1, w.shape[1])), np.cumsum(sums, axis=0)])
        gained = np.add.reduceat(w[order[positive]], first, axis=0)
        before, after = cumulated[np.searchsorted(edges, begin)], cumulated[np.searchsorted(edges, end)]
        with np.errstate(invalid="ignore", divide="ignore"):
            result[:, k] = area(gained, before, after, cumulated[-1])
    return result[0] if weights is None or weights.ndim == 1 else result


def _average_precision(gained: Any, before: Any, after: Any, total: Any) -> NDArray[np.float64]:
    """Average precision (R,) from weights per group.

    gained (G, R): weight of the positives of a group. before, after (G, R): weight of all items above the group, and
    down to its end. total (R,): weight of all items.
    """
    right = np.cumsum(gained, axis=0)
    precision = np.where(after > 0, right / after, 0.0)
    return np.where(right[-1] > 0, np.sum(gained * precision, axis=0) / right[-1], np.nan)


def _auroc(gained: Any, before: Any, after: Any, total: Any) -> NDArray[np.float64]:
    """Area under the ROC curve (R,) from the same weights: negatives below a group count 1, those in it count half."""
    right = np.cumsum(gained, axis=0)
    negatives = total - right[-1]
    below = (total - after) - (right[-1] - right)
    level = (after - before) - gained
    both = right[-1] * negatives
    return np.where(both > 0, np.sum(gained * (below + level / 2), axis=0) / both, np.nan)
