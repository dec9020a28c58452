"""Quantize vectors to the nearest code of each codebook (online k-means), and k-means itself.

Legend: B clips, T frames, D width, G codebooks, V codes per codebook, N points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aural.nn.gumbel import Codes


class NearestQuantizer(nn.Module):
    """A product quantizer whose codes are the nearest ones, with gradients copied straight through.

    Formula, with z a part of the input and q its nearest code: vectors = z + stop(q - z) and
    loss = mean (stop(z) - q)^2 + 0.25 mean (z - stop(q))^2.

    Source: van den Oord et al. 2017, VQ-VAE (arXiv 1711.00937), equation 3; Baevski et al. 2019, vq-wav2vec (arXiv
    1910.05453), section 3.2 (its k-means variant).
    """

    commitment = 0.25

    def __init__(self, dim: int, *, groups: int = 2, codes: int = 32) -> None:
        super().__init__()
        self.groups, self.codes = groups, codes
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.books = nn.Parameter(torch.randn(groups, codes, dim // groups))

    def forward(self, x: Tensor) -> Codes:
        parts = self.norm(x).unflatten(-1, (self.groups, -1)).float()  # (B, T, G, D / G)
        ids = nearest(parts, self.books)
        chosen = torch.stack([self.books[g][ids[..., g]] for g in range(self.groups)], -2)
        loss = (parts.detach() - chosen).square().mean() + self.commitment * (parts - chosen.detach()).square().mean()
        return Codes((parts + (chosen - parts).detach()).flatten(-2), ids, None, loss)


def nearest(parts: Tensor, books: Tensor) -> Tensor:
    """Return ids (..., G) of the codes (G, V, E) that are nearest to parts (..., G, E)."""
    cross = torch.einsum("...ge,gve->...gv", parts, books)
    return (books.square().sum(-1) - 2 * cross).argmin(-1)


def k_means(points: Tensor, codes: int, *, rounds: int = 15, seed: int = 0) -> Tensor:
    """Return centers (V, D) of points (N, D) by Lloyd's algorithm from random points; an empty one moves to a point.

    Source: Lloyd 1982 (doi 10.1109/TIT.1982.1056489).

    >>> k_means(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), 2).sort(0).values.flatten().tolist()
    [0.5, 10.5]
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(points), generator=generator)
    centers = points[order[:codes].to(points.device)].clone()
    if len(centers) < codes:
        centers = centers.repeat(-(-codes // len(centers)), 1)[:codes]
    for turn in range(rounds):
        ids = nearest(points[:, None], centers[None])[:, 0]
        counts = torch.bincount(ids, minlength=codes).to(points)
        sums = torch.zeros_like(centers).index_add_(0, ids, points)
        spare = points[torch.randperm(len(points), generator=generator)[:codes].to(points.device)]
        spare = spare.repeat(-(-codes // len(spare)), 1)[:codes]
        empty = (counts == 0)[:, None]
        last = turn == rounds - 1
        centers = torch.where(empty, centers if last else spare, sums / counts.clamp(min=1)[:, None])
    return centers
