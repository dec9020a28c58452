"""Predict the tokens of frames, in one or several codebooks.

Legend: B clips, T frames, G codebooks, V codes per codebook.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def token_loss(logits: Tensor, ids: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss per clip (B,) and the share of right tokens.

    Formula: the mean over the frames of `where` and over codebooks of -log softmax_v(logits) at the true token.

    Args:
        logits: (B, T, G, V). ids: (B, T, G). where: (B, T), true for frames that count, such as the masked ones.

    Source: Hsu et al. 2021, HuBERT (arXiv 2106.07447), equation 1; several codebooks: SPEAR (arXiv 2510.25955).

    >>> import torch
    >>> loss, _ = token_loss(torch.zeros(1, 2, 1, 8), torch.zeros(1, 2, 1, dtype=torch.long), torch.ones(1, 2) > 0)
    >>> round(float(loss), 4)  # log 8
    2.0794
    """
    losses = cross_entropy(logits.float().movedim(-1, 1), ids, reduction="none").mean(-1)  # (B, T)
    weight = where.float()
    right = (logits.detach().argmax(-1) == ids).float().mean(-1)
    return (losses * weight).sum(1) / weight.sum(1).clamp(min=1), (right * weight).sum() / weight.sum().clamp(min=1)
