"""Metrics as pure functions of stored predictions, each under one exact name.

A metric takes `arrays` (what a runner stores of a task) and `weights` (one per item, how often a bootstrap resample
drew it; None: each once) and gives one number. So a score, its interval and a paired test are one function, and a
stored run can be scored anew without the model.

Legend: N items (clips, queries, pairs, segments), K classes, Q queries, D documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.registry import Registry

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Weights: TypeAlias = NDArray[np.float64] | None
Metric: TypeAlias = Callable[[Arrays, Weights], float]

METRICS: Registry[Metric] = Registry("metric")
PART_OF_MAP = 10  # the 10 of mAP@10


def weighted_mean(values: NDArray[Any], weights: Weights = None) -> float:
    """Mean of the values; NaN where no weight is left."""
    if weights is None:
        return float(np.mean(values)) if len(values) else float("nan")
    total = float(weights.sum())
    return float(weights @ values.astype(np.float64)) / total if total else float("nan")


# One label a clip: targets (N,), predicted (N,) -------------------------------------------------------------


@METRICS.register("accuracy")
def accuracy(arrays: Arrays, weights: Weights = None) -> float:
    """Share of items whose predicted class is the true one."""
    return weighted_mean(arrays["predicted"] == arrays["targets"], weights)


@METRICS.register("macro-f1")
def macro_f1(arrays: Arrays, weights: Weights = None) -> float:
    """F1 of each class that occurs in truth or prediction, averaged over these classes."""
    targets, predicted = arrays["targets"], arrays["predicted"]
    w = np.ones(len(targets)) if weights is None else weights
    size = int(max(targets.max(initial=0), predicted.max(initial=0))) + 1
    hits = np.bincount(targets, w * (targets == predicted), size)
    both = np.bincount(targets, w, size) + np.bincount(predicted, w, size)
    return float(np.mean(2 * hits[both > 0] / both[both > 0])) if (both > 0).any() else float("nan")


# Several labels a clip: targets (N, K) of 0 and 1, scores (N, K), threshold (N,) ----------------------------


@METRICS.register("mAP")
def mean_average_precision(arrays: Arrays, weights: Weights = None) -> float:
    """Mean over classes with a positive of the average precision (the step-wise sum, without interpolation)."""
    return float(_known_mean(average_precision(arrays["targets"], arrays["scores"], weights)))


@METRICS.register("AUROC")
def mean_auroc(arrays: Arrays, weights: Weights = None) -> float:
    """Mean over classes of the area under the ROC curve: a true item stands above a false one, ties count half."""
    return float(_known_mean(auroc(arrays["targets"], arrays["scores"], weights)))


@METRICS.register("micro-F1")
def micro_f1(arrays: Arrays, weights: Weights = None) -> float:
    """F1 over all decisions (clip, class); a class is predicted where its score exceeds the clip's threshold."""
    hits, wrong, missed = (counts.sum() for counts in _decisions(arrays, weights))
    return float(2 * hits / (2 * hits + wrong + missed)) if hits + wrong + missed else float("nan")


@METRICS.register("class-F1")
def class_f1(arrays: Arrays, weights: Weights = None) -> float:
    """F1 of each class over the clips, averaged over classes that are true or predicted somewhere."""
    hits, wrong, missed = _decisions(arrays, weights)
    some = hits + wrong + missed > 0
    return float(np.mean(2 * hits[some] / (2 * hits + wrong + missed)[some])) if some.any() else float("nan")


def _decisions(arrays: Arrays, weights: Weights) -> tuple[NDArray[np.float64], ...]:
    """Weighted hits, wrong and missed decisions of each class (K,)."""
    targets = arrays["targets"].astype(bool)
    predicted = arrays["scores"] > arrays["threshold"][:, None]
    w = np.ones(len(targets)) if weights is None else weights
    return w @ (targets & predicted), w @ (~targets & predicted), w @ (targets & ~predicted)


def _known_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes without the NaNs, (..., K) to (...); NaN where nothing is left."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean


def average_precision(targets: NDArray[Any], scores: NDArray[Any], weights: Weights = None) -> NDArray[np.float64]:
    """(K,): sum over thresholds of (recall gained) x precision, items of equal score entering together.

    NaN for a class without a positive. Equal to sklearn.metrics.average_precision_score with sample_weight.
    With weights (R, N) of R resamples: (R, K).
    """
    return _by_class(_average_precision, targets, scores, weights)


def auroc(targets: NDArray[Any], scores: NDArray[Any], weights: Weights = None) -> NDArray[np.float64]:
    """(K,): the area by trapezoids over groups of equal score; NaN for a class that has only one kind.

    With weights (R, N) of R resamples: (R, K).
    """
    return _by_class(_auroc, targets, scores, weights)


def _by_class(area: Any, targets: NDArray[Any], scores: NDArray[Any], weights: Weights) -> NDArray[np.float64]:
    """One area a class and resample; each class is sorted once for all resamples.

    Only groups of equal score that hold a true item matter, so weights are summed from one such group to the next.
    """
    w = np.ones((len(targets), 1)) if weights is None else np.ascontiguousarray(np.atleast_2d(weights).T)
    result = np.full((w.shape[1], targets.shape[1]), np.nan)
    for k in range(targets.shape[1]):
        order = np.argsort(-scores[:, k], kind="stable")
        ordered, true = scores[order, k], np.flatnonzero(targets[order, k] > 0)
        if not len(true):
            continue
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # of groups of equal score
        group, first = np.unique(np.searchsorted(starts, true, side="right") - 1, return_index=True)
        begin, end = starts[group], np.append(starts[1:], len(order))[group]
        edges = np.unique(np.concatenate([[0], begin, end, [len(order)]]))
        sums = np.add.reduceat(w[order], edges[:-1], axis=0)
        down_to = np.concatenate([np.zeros((1, w.shape[1])), np.cumsum(sums, axis=0)])
        gained = np.add.reduceat(w[order[true]], first, axis=0)
        before, after = down_to[np.searchsorted(edges, begin)], down_to[np.searchsorted(edges, end)]
        with np.errstate(invalid="ignore", divide="ignore"):
            result[:, k] = area(gained, before, after, down_to[-1])
    return result[0] if weights is None or weights.ndim == 1 else result


def _average_precision(gained: Any, before: Any, after: Any, total: Any) -> NDArray[np.float64]:
    """Weights (groups, R) of the true items of each group, of all items before it and down to its end; (R,) of all."""
    right = np.cumsum(gained, axis=0)
    precision = np.where(after > 0, right / after, 0.0)
    return np.where(right[-1] > 0, np.sum(gained * precision, axis=0) / right[-1], np.nan)


def _auroc(gained: Any, before: Any, after: Any, total: Any) -> NDArray[np.float64]:
    """The same: a true item stands above the false ones after its group and level with those in it."""
    right = np.cumsum(gained, axis=0)
    false = total - right[-1]
    below = (total - after) - (right[-1] - right)
    level = (after - before) - gained
    both = right[-1] * false
    return np.where(both > 0, np.sum(gained * (below + level / 2), axis=0) / both, np.nan)


# Retrieval: first (Q,), ap10 (Q,), found1/5/10 (Q,), see `retrieval_arrays` ---------------------------------


def retrieval_arrays(scores: NDArray[Any], relevant: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """What the retrieval metrics need of Q queries: scores (Q, D) and which documents are right (Q, D).

    Documents of equal score stand in the worst order, wrong ones first: a model that gives one score to everything
    finds nothing. first: position of the first right document, from 1. ap10: sum of the precisions at the right
    documents among the first 10, divided by min(right documents, 10). ap10_all: the same divided by all right ones.
    found1, found5, found10: share of the right documents among the first 1, 5, 10.
    """
    if scores.shape != relevant.shape or not relevant.any(axis=1).all():
        raise DataError("every query needs at least one right document, and scores and truth the same shape")
    queries = len(scores)
    first = np.zeros(queries, np.int64)
    ap10, ap10_all = np.zeros(queries), np.zeros(queries)
    found = {k: np.zeros(queries) for k in (1, 5, 10)}
    for q in range(queries):
        order = np.lexsort((relevant[q], -scores[q]))
        positions = np.flatnonzero(relevant[q][order]) + 1
        first[q] = positions[0]
        within = positions[positions <= PART_OF_MAP]
        precisions = float(np.sum(np.arange(1, len(within) + 1) / within))
        ap10[q] = precisions / min(len(positions), PART_OF_MAP)
        ap10_all[q] = precisions / len(positions)
        for k, share in found.items():
            share[q] = np.sum(positions <= k) / len(positions)
    return {"first": first, "ap10": ap10, "ap10_all": ap10_all} | {f"found{k}": share for k, share in found.items()}


def _hit(k: int) -> Metric:
    def metric(arrays: Arrays, weights: Weights = None) -> float:
        return weighted_mean(arrays["first"] <= k, weights)

    metric.__doc__ = f"R@{k}: share of queries with at least one right document among the first {k}."
    return metric


def _mean_of(name: str, what: str) -> Metric:
    def metric(arrays: Arrays, weights: Weights = None) -> float:
        return weighted_mean(arrays[name], weights)

    metric.__doc__ = what
    return metric


for _k in (1, 5, 10):
    METRICS.add(f"R@{_k}", _hit(_k))
    METRICS.add(f"recall@{_k}", _mean_of(f"found{_k}", f"Share of a query's right documents among the first {_k}."))
METRICS.add("mAP@10", _mean_of("ap10", "Precisions at right documents of the first 10, over min(right, 10)."))
METRICS.add("mAP@10/all", _mean_of("ap10_all", "Precisions at right documents of the first 10, over all right ones."))


@METRICS.register("MRR")
def mean_reciprocal_rank(arrays: Arrays, weights: Weights = None) -> float:
    """Mean of 1 / position of the first right document."""
    return weighted_mean(1.0 / arrays["first"], weights)


@METRICS.register("median-rank")
def median_rank(arrays: Arrays, weights: Weights = None) -> float:
    """Lower weighted median of the position of the first right document."""
    w = np.ones(len(arrays["first"])) if weights is None else weights
    order = np.argsort(arrays["first"], kind="stable")
    cumulated = np.cumsum(w[order])
    return float(arrays["first"][order][int(np.searchsorted(cumulated, cumulated[-1] / 2))])


# Choice between a true caption and false ones: margin (N,) --------------------------------------------------


@METRICS.register("pair-accuracy")
def pair_accuracy(arrays: Arrays, weights: Weights = None) -> float:
    """Share of items whose true caption scores above every false one; a tie is half right."""
    margin = arrays["margin"]
    return weighted_mean((margin > 0) + 0.5 * (margin == 0), weights)


# Captions: one array of sentence scores each; BLEU from counts over all clips ----------------------------------

CAPTION_METRICS = (
    "SPIDEr",
    "CIDEr-D",
    "SPICE",
    "METEOR",
    "ROUGE-L",
    "FENSE",
    *(f"BLEU-{n}" for n in (1, 2, 3, 4)),
)
for _name in CAPTION_METRICS[:6]:
    METRICS.add(_name, _mean_of(_name, f"Mean over clips of {_name} as the caption runner stored it."))


def _bleu(n: int) -> Metric:
    def metric(arrays: Arrays, weights: Weights = None) -> float:
        w = np.ones(len(arrays["bleu_words"])) if weights is None else weights
        right, guessed = w @ arrays["bleu_right"][:, :n], w @ arrays["bleu_guessed"][:, :n]
        words, closest = float(w @ arrays["bleu_words"]), float(w @ arrays["bleu_closest"])
        if not right.all():
            return 0.0
        brevity = min(0.0, 1 - closest / words)
        return float(np.exp(np.mean(np.log(right / guessed)) + brevity))

    metric.__doc__ = f"BLEU-{n} of all clips together: mean of log precisions of 1 to {n} words, brevity penalty."
    return metric


for _n in (1, 2, 3, 4):
    METRICS.add(f"BLEU-{_n}", _bleu(_n))

# Many resamples at once: weights (R, N) to (R,), for metrics that would else sort the same scores R times ------

RESAMPLED: dict[Metric, Callable[[Arrays, NDArray[np.float64]], NDArray[np.float64]]] = {
    mean_average_precision: lambda a, w: _known_mean(average_precision(a["targets"], a["scores"], w)),
    mean_auroc: lambda a, w: _known_mean(auroc(a["targets"], a["scores"], w)),
}
