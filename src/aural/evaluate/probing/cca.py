"""Canonical correlations of two sets of features of the same items.

Legend: N items, D and E dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
KEPT = 0.99
"""Share of the variance of each set that is kept before the correlations."""


def canonical_correlations(first: Rows, second: Rows, kept: float = KEPT) -> Rows:
    """Return the canonical correlations of rows (N, D) and (N, E), falling, between 0 and 1.

    Both sets are reduced to the principal components that hold `kept` of their variance, so that directions of noise do
    not count; then the correlations are the singular values of the product of their orthonormal bases.

    Source: Hotelling 1936 (doi 10.1093/biomet/28.3-4.321); Raghu et al. 2017, SVCCA (arXiv 1706.05806), section 2.

    >>> x = np.random.default_rng(0).standard_normal((50, 2))
    >>> canonical_correlations(x, x @ np.array([[1.0, 2.0], [0.5, -1.0]])).round(6).tolist()
    [1.0, 1.0]
    """
    bases = [_basis(rows, kept) for rows in (first, second)]
    values = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return np.clip(np.asarray(values, np.float64), 0.0, 1.0)


def mean_cca(first: Rows, second: Rows, kept: float = KEPT) -> float:
    """Return the mean of the canonical correlations; 0 if one set has no variance."""
    values = canonical_correlations(first, second, kept)
    return float(values.mean()) if len(values) else 0.0


def _basis(rows: Rows, kept: float) -> Rows:
    """Return an orthonormal basis (N, K) of the leading components of centered rows (N, D)."""
    left, values, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    energy = np.cumsum(values**2)
    if energy[-1] < 1e-12:
        return left[:, :0]
    count = int(np.searchsorted(energy / energy[-1], kept - 1e-12) + 1)
    basis: Rows = left[:, :count]
    return basis


def permuted(values: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return rows in random order, for a control that must be near the value of unrelated sets."""
    return values[np.random.default_rng(seed).permutation(len(values))]
