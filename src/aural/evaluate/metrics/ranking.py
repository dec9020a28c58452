"""Metrics of ranked documents, and of choosing a true caption against a false one.

Legend: N pairs, Q queries, D documents.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.evaluate.metrics.base import METRICS, Arrays, Weights, item_metric, stored_values

MAP_DEPTH: Final = 10  # the 10 of mAP@10
DEPTHS: Final = (1, 5, 10)


def retrieval_arrays(scores: NDArray[Any], relevant: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Return the arrays that retrieval metrics read, from scores (Q, D) and the relevant documents (Q, D).

    Documents of equal score are put in the worst order, irrelevant ones first, so a model that gives every document
    the same score retrieves nothing.

    - first: rank of the first relevant document, counted from 1.
    - ap10: sum of the precisions at relevant documents among the first 10, divided by min(relevant documents, 10).
    - ap10_all: the same sum divided by the number of all relevant documents.
    - found1, found5, found10: share of the relevant documents among the first 1, 5, 10.

    Raises DataError if a query has no relevant document.
    """
    if scores.shape != relevant.shape or not relevant.any(axis=1).all():
        raise DataError("every query needs at least one relevant document, and scores and truth the same shape")
    queries = len(scores)
    first = np.zeros(queries, np.int64)
    ap10, ap10_all = np.zeros(queries), np.zeros(queries)
    shares = {k: np.zeros(queries) for k in DEPTHS}
    for q in range(queries):
        order = np.lexsort((relevant[q], -scores[q]))
        ranks = np.flatnonzero(relevant[q][order]) + 1
        first[q] = ranks[0]
        top = ranks[ranks <= MAP_DEPTH]
        precisions = float(np.sum(np.arange(1, len(top) + 1) / top))
        ap10[q] = precisions / min(len(ranks), MAP_DEPTH)
        ap10_all[q] = precisions / len(ranks)
        for k, share in shares.items():
            share[q] = np.sum(ranks <= k) / len(ranks)
    return {"first": first, "ap10": ap10, "ap10_all": ap10_all} | {f"found{k}": share for k, share in shares.items()}


def _register_depth(k: int) -> None:
    @item_metric(f"R@{k}", f"R@{k}: share of queries with at least one relevant document among the first {k}.")
    def _(arrays: Arrays) -> NDArray[Any]:
        return arrays["first"] <= k

    stored_values(f"recall@{k}", f"found{k}", f"Share of a query's relevant documents among the first {k}.")


for _k in DEPTHS:
    _register_depth(_k)
stored_values("mAP@10", "ap10", "Precisions at relevant documents of the first 10, over min(relevant, 10).")
stored_values("mAP@10/all", "ap10_all", "Precisions at relevant documents of the first 10, over all relevant ones.")


@item_metric("MRR", "Mean of 1 / rank of the first relevant document.")
def mean_reciprocal_rank(arrays: Arrays) -> NDArray[Any]:
    """Return 1 / rank of the first relevant document per query."""
    return 1.0 / arrays["first"]


@METRICS.register("median-rank")
def median_rank(arrays: Arrays, weights: Weights = None) -> float:
    """Lower weighted median of the rank of the first relevant document."""
    w = np.ones(len(arrays["first"])) if weights is None else weights
    order = np.argsort(arrays["first"], kind="stable")
    cumulated = np.cumsum(w[order])
    return float(arrays["first"][order][int(np.searchsorted(cumulated, cumulated[-1] / 2))])


@item_metric("pair-accuracy", "Share of pairs in which the true caption scores above the false one; a tie counts half.")
def pair_accuracy(arrays: Arrays) -> NDArray[Any]:
    """Return 1, 0.5 or 0 per pair from the margins (N,): true score minus false score."""
    margin = arrays["margin"]
    return (margin > 0) + 0.5 * (margin == 0)
