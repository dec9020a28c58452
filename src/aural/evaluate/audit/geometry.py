"""Measures of the shape of an embedding space, as pure functions of unit rows.

Legend: N items, E joint dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray


def effective_rank(rows: FloatArray) -> float:
    """Return the effective rank of the rows (N, E): from 1 for a collapsed tower up to min(N, E).

    It is the exponential of the entropy of the singular values divided by their sum (Roy and Vetterli 2007, "The
    effective rank"). The rows are not centered, so that one common direction counts.

    >>> effective_rank(np.eye(4)), effective_rank(np.ones((4, 4)))
    (4.0, 1.0)
    """
    values = np.linalg.svd(np.asarray(rows, np.float64), compute_uv=False)
    share = values / values.sum()
    share = share[share > 1e-12]
    return float(round(np.exp(-np.sum(share * np.log(share))), 12))


def uniformity(rows: NDArray[Any]) -> float:
    """Return log mean exp(-2 |x - y|^2) over pairs of different rows (N, E) of length 1; lower is more uniform.

    0 for a collapsed tower, -4 for orthogonal rows. Source: Wang and Isola (arXiv 2005.10242), t = 2.

    >>> uniformity(np.eye(3))
    -4.0
    """
    cosines = np.asarray(rows, np.float64) @ np.asarray(rows, np.float64).T
    pairs = cosines[np.triu_indices(len(rows), 1)]
    return float(np.log(np.mean(np.exp(-4 * (1 - pairs)))))


def alignment(sounds: NDArray[Any], texts: NDArray[Any]) -> float:
    """Return the mean squared distance of matching rows (N, E) of length 1, from 0 (equal) to 4 (opposite).

    Source: Wang and Isola (arXiv 2005.10242), alpha = 2.

    >>> alignment(np.eye(2), -np.eye(2))
    4.0
    """
    difference = np.asarray(sounds, np.float64) - np.asarray(texts, np.float64)
    return float(np.mean(np.sum(difference**2, axis=1)))


def isotropy(rows: NDArray[Any]) -> float:
    """Return min Z(c) / max Z(c) over the principal directions c of rows (N, E), with Z(c) the sum of exp(c x).

    1 for a space without a preferred direction. Source: Mu and Viswanath (arXiv 1702.01417).

    >>> isotropy(np.concatenate([np.eye(3), -np.eye(3)]))
    1.0
    """
    values = np.asarray(rows, np.float64)
    _, directions = np.linalg.eigh(values.T @ values)
    sums = np.exp(values @ np.concatenate([directions, -directions], axis=1)).sum(axis=0)
    return float(sums.min() / sums.max())


def modality_gap(sounds: FloatArray, texts: FloatArray) -> float:
    """Return the distance between the mean sound and the mean text, from 0 to 2.

    Source: Liang et al. (arXiv 2203.02053), section 2.

    >>> modality_gap(np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]]))
    2.0
    """
    return float(np.linalg.norm(np.mean(sounds, axis=0, dtype=np.float64) - np.mean(texts, axis=0, dtype=np.float64)))
