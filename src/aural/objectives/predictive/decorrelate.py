"""Decorrelate the dimensions of features, and measure how many dimensions they use.

Legend: N rows, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def decorrelation_loss(rows: Tensor) -> Tensor:
    """Return the mean square of the correlations of different dimensions of rows (N, D).

    Source: the off-diagonal term of Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230), equation 1, within one view.

    >>> rows = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(decorrelation_loss(rows)), 3)
    1.0
    """
    rows = rows.float()
    unit = (rows - rows.mean(0)) / (rows.std(0, unbiased=False) + 1e-5)
    correlation = unit.T @ unit / len(unit)
    D = len(correlation)
    return (correlation.square().sum() - correlation.diagonal().square().sum()) / (D * (D - 1))


def effective_rank(rows: Tensor) -> Tensor:
    """Return exp of the entropy of the normalized singular values of centered rows (N, D), from 1 to D.

    Source: Roy and Vetterli 2007, The effective rank (EUSIPCO), definition 1.

    >>> round(float(effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))), 3)
    2.0
    """
    values = torch.linalg.svdvals((rows - rows.mean(0)).double())
    return torch.special.entr(values / values.sum()).sum().exp()
