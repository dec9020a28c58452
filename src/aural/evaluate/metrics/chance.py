"""Scores of guessing: in closed form where there is one, otherwise the mean of seeded random draws.

Legend: N items, K classes, Q queries, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.metrics.base import METRICS, Arrays

DRAWS = 20


def chance_labels(metric: str, targets: NDArray[np.int64], classes: int) -> float:
    """Return the score of a uniformly guessed class: 1/K for accuracy, the mean of draws for other metrics."""
    if metric == "accuracy":
        return 1 / classes
    generator = np.random.default_rng(0)
    draws = ({"targets": targets, "predicted": generator.integers(classes, size=len(targets))} for _ in range(DRAWS))
    return float(np.mean([METRICS[metric](one, None) for one in draws]))


def chance_scores(metric: str, arrays: Arrays) -> float:
    """Return the mean score of random scores (N, K) and thresholds (N,).

    For rare classes it is above the share of positives.
    """
    generator, targets = np.random.default_rng(0), arrays["targets"]
    values = []
    for _ in range(DRAWS):
        scores = generator.standard_normal(targets.shape)
        drawn = {"targets": targets, "scores": scores, "threshold": generator.standard_normal(len(targets))}
        values.append(METRICS[metric](drawn, None))
    return float(np.nanmean(values))


def chance_ranks(metric: str, relevant: NDArray[np.bool_]) -> float | None:
    """Return the expected R@k or recall@k of a random order; None for other metrics.

    For D documents of which r are relevant (Q, D), R@k is 1 - C(D-r, k) / C(D, k) and recall@k is k / D.
    """
    kind, _, k_text = metric.partition("@")
    documents = relevant.shape[1]
    if kind not in ("R", "recall") or not k_text.isdigit():
        return None
    k = min(int(k_text), documents)
    if kind == "recall":
        return k / documents
    missed = np.ones(len(relevant))
    counts = relevant.sum(axis=1)
    for n in range(k):
        missed *= np.maximum(documents - counts - n, 0) / (documents - n)
    return float(1 - missed.mean())


def captions_of_other_clips(references: Sequence[Sequence[str]], draws: int) -> Iterator[list[str]]:
    """Yield draws of one sentence per clip, each a caption of another clip. Needs at least two clips."""
    generator, count = np.random.default_rng(0), len(references)
    for _ in range(draws):
        clips = (np.arange(count) + generator.integers(1, count, size=count)) % count
        yield [texts[int(generator.integers(len(texts)))] for texts in (references[int(n)] for n in clips)]
