"""Graded similarity as a target: regression of the cosine and list-wise ranking losses."""

from __future__ import annotations

from torch import Tensor


def graded_cosine(first: Tensor, second: Tensor, score: Tensor) -> Tensor:
    """Return the mean squared difference of cosine and graded score, (), for unit rows (B, E) and scores (B,).

    Source: Cheng et al. 2023, CLAIF (arXiv 2305.01918), equation 3.

    >>> import torch
    >>> rows = torch.eye(2)
    >>> float(graded_cosine(rows, rows, torch.tensor([1.0, 0.5])))
    0.125
    """
    return ((first * second).sum(1) - score.to(first)).square().mean()


def list_net(scores: Tensor, gold: Tensor, *, temperature: float = 0.05, sharpness: float = 0.05) -> Tensor:
    """Return the mean cross entropy between the top-one distributions of gold and predicted scores (B, K), ().

    Formula: -1/B sum_i sum_k softmax(gold_i / sharpness)_k log softmax(scores_i / temperature)_k.

    Source: Cao et al. 2007, ListNet (doi 10.1145/1273496.1273513), equation 4; with sentence similarities Liu et al.
    2023, RankCSE (arXiv 2305.16726), section 4.2.

    >>> import torch
    >>> even = torch.zeros(1, 2)
    >>> round(float(list_net(even, even)), 4)  # log 2
    0.6931
    """
    target = (gold / sharpness).softmax(1)
    return -(target * (scores / temperature).log_softmax(1)).sum(1).mean()


def list_mle(scores: Tensor, gold: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Return the mean negative log-likelihood of the gold order under a Plackett-Luce model of the scores (B, K), ().

    Formula, with pi the order of falling gold: -1/B sum_i sum_k log (exp s_pi(k) / sum_{m >= k} exp s_pi(m)),
    s = scores / temperature.

    Source: Xia et al. 2008, ListMLE (doi 10.1145/1390156.1390306), equation 8.

    >>> import torch
    >>> round(float(list_mle(torch.zeros(1, 3), torch.tensor([[3.0, 2.0, 1.0]]))), 4)  # log 3 + log 2
    1.7918
    """
    ordered = scores.gather(1, gold.argsort(1, descending=True)) / temperature
    rest = ordered.flip(1).logcumsumexp(1).flip(1)
    return (rest - ordered).sum(1).mean()
