"""Make fewer predictions than there are future frames, and align them in order with these frames.

Legend: B clips, T frames, P predictions, K future frames, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def best_alignment(scores: Tensor) -> Tensor:
    """Return the highest sum (...) of scores (..., K, P) along a path that uses the predictions in order.

    Frame 1 has prediction 1, frame K has prediction P, and each frame has the prediction of the frame before or the
    next one. K must be at least P.

    >>> best_alignment(torch.tensor([[0.0, 9.0], [1.0, 0.0], [9.0, 2.0]])).item()  # 0 + 1 + 2
    3.0
    """
    K, P = scores.shape[-2:]
    none = scores.new_full((*scores.shape[:-2], 1), -torch.inf)
    best = torch.cat([scores[..., 0, :1], none.expand(*none.shape[:-1], P - 1)], -1)
    for k in range(1, K):
        before = torch.cat([none, best[..., :-1]], -1)
        best = scores[..., k, :] + torch.maximum(best, before)
    return best[..., -1]


def aligned_loss(predicted: Tensor, targets: Tensor, frames: int) -> Tensor:
    """Return the loss per clip (B,): minus the mean score per frame of the best alignment.

    Formula: score_kp = log softmax_s(<p_p, z_s>) at s = t + k, over all frames s of the clip; the loss is the mean over
    t of -1/K max_path sum_k score_k,path(k), with K = `frames`.

    Args:
        predicted: (B, T, P, E). targets: (B, T, E).

    Source: Chorowski et al. 2021, Aligned CPC (arXiv 2104.11946), equation 3.
    """
    logs = torch.einsum("btpe,bse->btps", predicted.float(), targets.float()).log_softmax(-1)  # (B, T, P, T)
    T = targets.shape[1]
    future = torch.arange(T - frames, device=targets.device)[:, None] + torch.arange(
        1, frames + 1, device=targets.device
    )
    index = future[None, :, None].expand(len(targets), -1, predicted.shape[2], -1)
    scores = logs[:, : T - frames].gather(3, index).transpose(2, 3)  # (B, T - K, K, P)
    return -best_alignment(scores).mean(1) / frames
