"""DATE: how similar a caption is to its reference, and how much better it fits this reference than all others.

Legend: N clips, L tokens.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]


def discrimination(similarity: NDArray[Any], tolerance: float = 0.02) -> FloatArray:
    """Return for each caption (N,) the share of references that fit it clearly worse than its reference does.

    Formula, with s_ij the similarity (N, N) of caption i and reference j:
        d_i = 1 - (number of j with s_ij > s_ii - tolerance) / N
    The caption's reference is among these, so a perfect caption scores 1 - 1/N.

    >>> discrimination(np.array([[0.9, 0.2], [0.5, 0.5]]))
    array([0.5, 0. ])
    """
    s = np.asarray(similarity, np.float64)
    near = s >= s.diagonal()[:, None] - tolerance
    shares: FloatArray = 1 - near.mean(1)
    return shares


def date(similarity: NDArray[Any], tolerance: float = 0.02) -> FloatArray:
    """Return the DATE score of each caption (N,): the harmonic mean of similarity and discrimination.

    Negative similarities count as 0.

    Source: Niu et al. 2025, MECAT (arXiv 2507.23511), the definition of DATE, and the tolerance of the publisher's
    code (half of its delta on each side).

    >>> date(np.array([[0.5, 0.2], [0.5, 0.5]]))
    array([0.5, 0. ])
    """
    fit = np.clip(np.asarray(similarity, np.float64).diagonal(), 0, None)
    rank = discrimination(similarity, tolerance)
    total = fit + rank
    scores: FloatArray = np.divide(2 * fit * rank, total, out=np.zeros_like(total), where=total > 0)
    return scores


def token_weights(ids: NDArray[Any], mask: NDArray[Any]) -> FloatArray:
    """Return the weight of each token of N texts (N, L): its rarity among the texts, 1 on average within a text.

    Formula: log(N / n_t), n_t the number of texts that contain token t, divided by the mean over the text. The first
    and the last token of a text mark its ends: the first one has the highest weight of the text, the last one the
    lowest. Texts whose tokens all occur in every text, and padding, have the weight 1.

    Source: MECAT's code, with the rarity of tokens (its other choice compares the vectors of tokens).

    >>> ids = np.array([[0, 5, 7, 1], [0, 5, 8, 1]])  # token 5 is in both texts
    >>> token_weights(ids, np.ones_like(ids)).tolist()
    [[2.0, 0.0, 2.0, 0.0], [2.0, 0.0, 2.0, 0.0]]
    """
    present = [set(row[on > 0][1:-1].tolist()) for row, on in zip(ids, mask, strict=True)]
    counts = Counter(token for row in present for token in row)
    weights = np.ones(ids.shape)
    for n, on in enumerate(mask):
        inner = ids[n][on > 0][1:-1]
        rarity = np.log(len(ids) / np.array([counts[token] for token in inner.tolist()], np.float64))
        if rarity.sum() > 0:
            rarity /= rarity.mean()
            weights[n, on > 0] = [rarity.max(), *rarity, rarity.min()]
    return weights
