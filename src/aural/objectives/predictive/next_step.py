"""Contrast the true next steps with other frames of the same clip (contrastive predictive coding).

Legend: B clips, T frames, K steps ahead, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def step_scores(predicted: Tensor, targets: Tensor) -> Tensor:
    """Return the products (B, K, T, T) of predictions (B, T, K, E) made at the first T and targets (B, T, E)."""
    return torch.einsum("btke,bse->bkts", predicted.float(), targets.float())


def next_step_loss(predicted: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss per clip (B,) and the share of right choices.

    Formula: the mean over t and k of -log softmax_s(<p_tk, z_s>) at s = t + k, over all frames s of the clip. Here k =
    1 is the next frame. Frames without a frame k steps later give no term.

    Args:
        predicted: (B, T, K, E), prediction k - 1 for k steps ahead. targets: (B, T, E) with T > K.

    Source: van den Oord et al. 2018, CPC (arXiv 1807.03748), equation 4; wav2vec (arXiv 1904.05862), equation 1, with
    all frames of the clip in place of ten of them.

    >>> loss, _ = next_step_loss(torch.zeros(1, 4, 1, 2), torch.ones(1, 4, 2))  # no information: log 4
    >>> round(float(loss), 4)
    1.3863
    """
    scores = step_scores(predicted, targets)
    K, T = scores.shape[1:3]
    true = torch.arange(T, device=scores.device) + torch.arange(1, K + 1, device=scores.device)[:, None]  # (K, T)
    there = true < T
    true = true.clamp(max=T - 1)
    losses = -scores.log_softmax(-1).gather(3, true.expand(len(scores), -1, -1)[..., None])[..., 0]  # (B, K, T)
    weight = there / there.sum(1, keepdim=True) / K
    hits = (scores.detach().argmax(-1) == true) * weight
    return (losses * weight).sum((1, 2)), hits.sum((1, 2)).mean()
