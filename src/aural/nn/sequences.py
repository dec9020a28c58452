"""Distances between two sequences of vectors, and the attention of a text to the segments of a long sound.

Legend: A, B numbers of sequences, T, M, L their lengths, E dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resampled(sequences: Tensor, lengths: Tensor, points: int) -> Tensor:
    """Return sequences (A, T, E) of the given lengths (A,) at `points` equidistant places (A, points, E), linearly
    interpolated. The first and the last place are the ends of the sequence."""
    place = torch.linspace(0, 1, points, device=sequences.device)[None] * (lengths[:, None] - 1)  # (A, points)
    before = place.floor().long().clamp(max=sequences.shape[1] - 1)
    after = torch.minimum(before + 1, (lengths[:, None] - 1).long())
    share = (place - before)[..., None].to(sequences.dtype)
    rows = torch.arange(len(sequences), device=sequences.device)[:, None]
    return (1 - share) * sequences[rows, before] + share * sequences[rows, after]


def interpolated_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean Euclidean distance of corresponding vectors (A, B) of sequences (A, L, E) and (B, L, E).

    Sequences of other lengths are `resampled` first.

    Source: Tsiamas et al. 2024, SCAV (arXiv 2407.05782), the interpolated Euclidean distance.

    >>> interpolated_distance(torch.tensor([[[0.0], [0.0]]]), torch.tensor([[[3.0], [5.0]]]))
    tensor([[4.]])
    """
    return _pointwise(first, second).diagonal(dim1=2, dim2=3).mean(-1)


def warped_distance(first: Tensor, second: Tensor, first_lengths: Tensor, second_lengths: Tensor) -> Tensor:
    """Return the cost of the best monotonic alignment, divided by the sum of both lengths: dynamic time warping.

    Shapes: (A, T, E), (B, M, E), lengths (A,) and (B,); the result is (A, B). Each step moves on in one sequence or in
    both, and costs the Euclidean distance of the two vectors it reaches. Computed diagonal by diagonal.

    Source: Sakoe and Chiba 1978 (doi 10.1109/TASSP.1978.1163055); SCAV (arXiv 2407.05782).

    >>> one = torch.tensor([[[0.0], [1.0]]])
    >>> slow = torch.tensor([[[0.0], [0.0], [1.0]]])
    >>> warped_distance(one, slow, torch.tensor([2]), torch.tensor([3]))  # the same path at another pace
    tensor([[0.]])
    """
    cost = _pointwise(first, second)  # (A, B, T, M)
    T, M = cost.shape[2:]
    far = cost.new_full(cost.shape[:2], torch.inf)
    total: dict[tuple[int, int], Tensor] = {}
    for d in range(T + M - 1):
        for t in range(max(0, d - M + 1), min(T, d + 1)):
            m = d - t
            best = [total.get(at, far) for at in ((t - 1, m), (t, m - 1), (t - 1, m - 1))]
            reached = torch.stack(best).amin(0) if d else torch.zeros_like(far)
            total[t, m] = reached + cost[:, :, t, m]
    table = torch.stack([torch.stack([total[t, m] for m in range(M)], -1) for t in range(T)], -2)  # (A, B, T, M)
    ends = table[
        torch.arange(len(first), device=cost.device)[:, None],
        torch.arange(len(second), device=cost.device)[None],
        first_lengths[:, None] - 1,
        second_lengths[None] - 1,
    ]
    return ends / (first_lengths[:, None] + second_lengths[None])


def _pointwise(first: Tensor, second: Tensor) -> Tensor:
    """Return the Euclidean distances of all vectors (A, B, T, M)."""
    flat = torch.cdist(first.flatten(0, 1), second.flatten(0, 1))
    return flat.view(len(first), first.shape[1], len(second), second.shape[1]).transpose(1, 2)


def attention_of_texts(segments: Tensor, texts: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the fused similarity (A, B) of long sounds and texts, and the attention (A, B, T) of texts to segments.

    Formula, with c_abt the cosine of segment t of sound a and text b: w_ab = softmax_t(c_abt / temperature) and
    similarity = sum_t w_abt c_abt. A high temperature gives the mean over segments, a low one the best segment.

    Args:
        segments: unit rows (A, T, E). texts: unit rows (B, E).

    Source: Wu et al. 2024, CoLLAP (arXiv 2410.02271): attention of the text to the clips of a song weights
    their similarities in the final score. Written from the description, without learned projections.

    >>> segments = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> similarity, attention = attention_of_texts(segments, torch.tensor([[1.0, 0.0]]), temperature=1.0)
    >>> round(float(similarity), 4), attention.flatten().round(decimals=4).tolist()  # e / (e + 1)
    (0.7311, [0.7311, 0.2689])
    """
    cosine = torch.einsum("ate,be->abt", segments, texts)
    attention = (cosine / temperature).softmax(-1)
    return (attention * cosine).sum(-1), attention
