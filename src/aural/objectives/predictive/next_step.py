"""Contrast the true next steps with other frames of the same clip (contrastive predictive coding).

Legend: B clips, T frames, K steps ahead, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


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
    B, K, T, _ = scores.shape
    losses, hits = [], []
    for k in range(1, K + 1):
        logits = scores[:, k - 1, : T - k]  # (B, T - k, T)
        true = torch.arange(k, T, device=logits.device).expand(B, -1)
        losses.append(cross_entropy(logits.transpose(1, 2), true, reduction="none").mean(1))
        hits.append((logits.detach().argmax(-1) == true).float().mean())
    return torch.stack(losses).mean(0), torch.stack(hits).mean()
