"""Classifiers on frozen embeddings: logistic regression and nearest neighbors.

Legend: N test clips, K classes, E joint dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray

NEIGHBORS = 10
REGULARIZATION = 1.0  # scikit-learn's C


def logistic(features: FloatArray, targets: NDArray[Any], seed: int) -> Any:
    """Fit a scikit-learn pipeline of standardization and logistic regression.

    targets: (N,) of classes or (N, K) of 0 and 1.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    base = LogisticRegression(C=REGULARIZATION, max_iter=500, random_state=seed)
    head = OneVsRestClassifier(base) if targets.ndim == 2 else base
    return make_pipeline(StandardScaler(), head).fit(features, targets)


def linear_scores(train: FloatArray, targets: NDArray[Any], test: FloatArray, seed: int) -> FloatArray:
    """Return class probabilities (N, K) of a logistic regression trained on targets of 0 and 1.

    A class without a positive example gets probability 0, a class without a negative example 1.
    """
    scores = np.zeros((len(test), targets.shape[1]), np.float32)
    single = bool((targets.sum(axis=1) == 1).all())
    if single:
        labels = targets.argmax(axis=1)
        if len(np.unique(labels)) == 1:
            scores[:, labels[0]] = 1
            return scores
        model = logistic(train, labels, seed)
        scores[:, model[-1].classes_] = model.predict_proba(test)
        return scores
    varied = np.flatnonzero((targets.min(axis=0) == 0) & (targets.max(axis=0) == 1))
    scores[:, targets.min(axis=0) == 1] = 1
    if len(varied):
        wanted = targets[:, varied] if len(varied) > 1 else np.repeat(targets[:, varied], 2, axis=1)
        scores[:, varied] = logistic(train, wanted, seed).predict_proba(test)[:, : len(varied)]
    return scores


def knn_scores(train: FloatArray, targets: NDArray[Any], test: FloatArray, seed: int) -> FloatArray:
    """Return the share (N, K) of each class among the nearest training clips, each weighted by 1 + cosine."""
    cosines = test @ train.T
    k = min(NEIGHBORS, len(train))
    near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    weight = 1 + np.take_along_axis(cosines, near, axis=1)
    votes = np.einsum("nk,nkc->nc", weight, targets[near].astype(np.float32))
    return (votes / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)
