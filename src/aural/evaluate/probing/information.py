"""Mutual information of two labelings of the same items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mutual_information(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return the mutual information in bits of two labelings (N,), from their counts.

    The estimate is biased upwards by about (R - 1)(C - 1) / (2 N ln 2) bits for R and C classes, so compare it with
    that of a random order of the labels.

    Source: Cover and Thomas, Elements of Information Theory, equation 2.28; the bias: Miller 1955.

    >>> mutual_information(np.array([0, 0, 1, 1]), np.array([5, 5, 7, 7]))
    1.0
    """
    _, rows = np.unique(first, return_inverse=True)
    _, columns = np.unique(second, return_inverse=True)
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1.0)
    joint /= joint.sum()
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / product[there])).sum())
