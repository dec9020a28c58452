"""What guessing scores: in closed form where there is one, else the mean of seeded random draws.

Legend: N items, K classes, Q queries, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aural.evaluate.metrics import METRICS, Arrays

DRAWS = 20


def chance_labels(metric: str, targets: NDArray[np.int64], classes: int) -> float:
    """One label a clip, guessed uniformly: 1/K for accuracy, the mean of draws for the rest."""
    if metric == "accuracy":
        return 1 / classes
    generator = np.random.default_rng(0)
    draws = ({"targets": targets, "predicted": generator.integers(classes, size=len(targets))} for _ in range(DRAWS))
    return float(np.mean([METRICS[metric](one, None) for one in draws]))


def chance_scores(metric: str, arrays: Arrays) -> float:
    """Random scores (N, K) and thresholds (N,): above the share of positives for rare classes."""
    generator, targets = np.random.default_rng(0), arrays["targets"]
    values = []
    for _ in range(DRAWS):
        scores = generator.standard_normal(targets.shape)
        drawn = {"targets": targets, "scores": scores, "threshold": generator.standard_normal(len(targets))}
        values.append(METRICS[metric](drawn, None))
    return float(np.nanmean(values))


def chance_ranks(metric: str, right: NDArray[np.bool_]) -> float | None:
    """A random order of D documents with r right ones (Q, D): R@k is 1 - C(D-r, k) / C(D, k), recall@k is k / D."""
    kind, _, k_text = metric.partition("@")
    documents = right.shape[1]
    if kind not in ("R", "recall") or not k_text.isdigit():
        return None
    k = min(int(k_text), documents)
    if kind == "recall":
        return k / documents
    missed = np.ones(len(right))
    rights = right.sum(axis=1)
    for n in range(k):
        missed *= np.maximum(documents - rights - n, 0) / (documents - n)
    return float(1 - missed.mean())


def others_captions(references: Sequence[Sequence[str]], draws: int) -> Iterator[list[str]]:
    """Draws of one sentence a clip (N >= 2), each a caption of some other clip."""
    generator, count = np.random.default_rng(0), len(references)
    for _ in range(draws):
        clips = (np.arange(count) + generator.integers(1, count, size=count)) % count
        yield [some[int(generator.integers(len(some)))] for some in (references[int(n)] for n in clips)]
