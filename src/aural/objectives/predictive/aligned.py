"""Make fewer predictions than there are future frames, and align them in order with these frames.

Legend: B clips, T frames, P predictions, K future frames, E width.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

MOST_PATHS = 512
"""Paths whose sums are computed at the same time."""


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def all_paths(frames: int, predictions: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the paths as columns (frames predictions, paths) of ones and zeros.

    >>> all_paths(3, 2).T.view(-1, 3, 2).argmax(-1).tolist()  # the prediction of each frame
    [[0, 1, 1], [0, 0, 1]]
    """
    starts = torch.tensor([*combinations(range(1, frames), predictions - 1)], dtype=torch.int64)  # (paths, P - 1)
    prediction = (torch.arange(frames)[:, None] >= starts[:, None]).sum(-1)  # (paths, frames)
    return one_hot(prediction, predictions).flatten(1).T.float().to(device)


def best_alignment(scores: Tensor) -> Tensor:
    """Return the highest sum (...) of scores (..., K, P) along a path that uses the predictions in order.

    Frame 1 has prediction 1, frame K has prediction P, and each frame has the prediction of the frame before or the
    next one. K must be at least P. The sums of few paths are one product of matrices, of more paths they are found
    frame by frame.

    >>> best_alignment(torch.tensor([[0.0, 9.0], [1.0, 0.0], [9.0, 2.0]])).item()  # 0 + 1 + 2
    3.0
    """
    K, P = scores.shape[-2:]
    if math.comb(K - 1, P - 1) <= MOST_PATHS:
        return (scores.flatten(-2) @ all_paths(K, P, scores.device).to(scores.dtype)).amax(-1)
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
