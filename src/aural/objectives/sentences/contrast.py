"""Contrast of sentences with their positives: in-batch, hard and extra negatives, weights, and the energy hinge."""

from __future__ import annotations

import torch
from torch import Tensor


def sentence_contrast(
    anchors: Tensor,
    positives: Tensor,
    *,
    temperature: float = 0.05,
    hard: Tensor | None = None,
    extra: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean cross entropy of finding the positive of each anchor, (), from unit rows (B, E).

    Formula, with s_ij = <a_i, p_j> / temperature, and further columns s_ij = <a_i, n_j> / temperature:
        loss = -1/B sum_i log (exp s_ii / sum_j w_ij exp s_ij)
    The columns are the B positives, then B hard negatives, then N extra negatives. w is 1 unless given; w_ii stays 1.

    Args:
        hard: unit rows (B, E), one false sentence per anchor, a negative of all anchors.
        extra: unit rows (N, E), such as noise or a queue, negatives of all anchors.
        weights: (B, B + hard + N), how much a column counts in the denominator; 0 leaves it out.

    Source: Gao et al. 2021, SimCSE (arXiv 2104.08821), equations 4 (dropout twins) and 5 (contradictions as hard
    negatives); weights as in Zhou et al. 2022, DCLR (arXiv 2205.00656), equation 8.

    >>> rows = torch.eye(2)
    >>> round(float(sentence_contrast(rows, rows, temperature=1.0)), 4)  # log(1 + 1/e)
    0.3133
    """
    columns = torch.cat([rows for rows in (positives, hard, extra) if rows is not None])
    logits = anchors @ columns.T / temperature  # (B, columns)
    if weights is not None:
        match = torch.eye(len(logits), logits.shape[1], dtype=torch.bool, device=logits.device)
        logits = logits + weights.to(logits).masked_fill(match, 1.0).log()
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def energy_hinge(anchors: Tensor, positives: Tensor, hard: Tensor, margin: float = 0.1) -> Tensor:
    """Return the mean of max(0, margin + <a, n> - <a, p>), (), for unit rows (B, E): anchors a, positives p, hard n.

    Also known as: triplet margin loss with cosines. With the energy of a pair as its negative cosine, the energy of
    the hard negative must exceed that of the positive by the margin.

    Source: Jiang et al. 2022, PromCSE (arXiv 2203.06875), section 3.3.

    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> round(float(energy_hinge(a, a, b, margin=0.5)), 4), round(float(energy_hinge(a, b, a, margin=0.5)), 4)
    (0.0, 1.5)
    """
    gap = (anchors * hard).sum(1) - (anchors * positives).sum(1)
    return (margin + gap).clamp(min=0).mean()
