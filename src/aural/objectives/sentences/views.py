"""Agreement of two views beyond their vectors: inner layers, similarity distributions, attention maps, teachers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm


def self_guided(anchors: Tensor, layers: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Return the contrast of sentence vectors (B, E) with pooled inner layers (B, K, E) of a frozen copy, ().

    Formula, with c_i an anchor and h_ik layer k of sentence i:
        loss = -1/(B K) sum_ik log (e_iik / (e_iik + sum_{m != i, n} e_imn)), e_imn = exp(<c_i, h_mn> / temperature)
    Other layers of the same sentence are neither positives nor negatives of a term.

    Args: unit rows in both.

    Source: Kim et al. 2021, Self-Guided Contrastive Learning for BERT (arXiv 2106.07345), equation 5 (opt3).

    >>> rows = torch.eye(2)
    >>> round(float(self_guided(rows, rows[:, None], temperature=1.0)), 4)  # one layer: log(1 + 1/e)
    0.3133
    """
    logits = torch.einsum("be,mke->bmk", anchors, layers) / temperature  # (B, B, K)
    same = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
    positive = logits[same]  # (B, K)
    others = logits.masked_fill(same[..., None], -torch.inf).flatten(1).logsumexp(1)  # (B,)
    return (torch.logaddexp(positive, others[:, None]) - positive).mean()


def cross_view(
    first: Tensor, second: Tensor, queue: Tensor, *, temperature: float = 0.1, sharpness: float = 0.05
) -> Tensor:
    """Return the mean cross entropy between the similarity distributions of two views over a queue, ().

    Formula, with P(x; t) = softmax(x queue^T / t):
        loss = (H(P(second; sharpness), P(first; temperature)) + H(P(first; sharpness), P(second; temperature))) / 2
    The sharper distribution is the target and receives no gradient.

    Args: unit rows (B, E), (B, E) and (Q, E).

    Source: Limkonchotiwat et al. 2023, SCT (arXiv 2311.03228), section 3: cross-view comparison of similarity
    distributions.

    >>> rows = torch.eye(2)
    >>> round(float(cross_view(rows, rows, rows, temperature=1.0, sharpness=1.0)), 4)  # entropy of softmax(1, 0)
    0.5822
    """

    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        target = (teacher.detach() @ queue.T / sharpness).softmax(1)
        return -(target * (student @ queue.T / temperature).log_softmax(1)).sum(1).mean()

    return (loss(first, second) + loss(second, first)) / 2


def attention_information(first: Tensor, second: Tensor, mask: Tensor, *, ceiling: float = 0.999) -> Tensor:
    """Return minus the mutual information of the attention maps of two views, averaged over slices, ().

    Formula: with x and y the logarithms of the entries of one slice (one head of one layer, one sentence) between
    tokens that are no padding, and rho their correlation: loss = mean 1/2 log(1 - rho^2). That is minus the mutual
    information of jointly log-normal variables.

    Args:
        first, second: attention weights (B, S, L, L) of S slices; rows sum to 1 over the last axis.
        mask: (B, L), 1 on tokens.
        ceiling: of |rho|, so that equal maps give a finite value.

    Source: Klein and Nabi 2023, miCSE (arXiv 2211.04928), section 3.2.
    """
    pair = (mask[:, None, :, None] * mask[:, None, None, :]).to(first)  # (B, 1, L, L)
    count = pair.sum((2, 3), keepdim=True).clamp(min=1)

    def centered(attention: Tensor) -> Tensor:
        logs = attention.clamp(min=1e-6).log()
        return (logs - (logs * pair).sum((2, 3), keepdim=True) / count) * pair

    x, y = centered(first), centered(second)
    spread = (x.square().sum((2, 3)) * y.square().sum((2, 3))).clamp(min=1e-12).sqrt()
    rho = ((x * y).sum((2, 3)) / spread).clamp(-ceiling, ceiling)
    return (0.5 * torch.log1p(-rho.square())).mean()


def layers_distance(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Return the mean squared distance of normalized layers (B, E) of a student and a teacher, ().

    Formula: mean over layers, rows and dimensions of (LN(s) - LN(t))^2, LN without gain and bias. No gradient reaches
    the teacher. In FutureTOD the student reads a dialogue's past, the teacher also its future.

    Source: Zeng et al. 2023, FutureTOD (arXiv 2306.10315), section 2.2.

    >>> rows = torch.tensor([[1.0, -1.0]])
    >>> round(float(layers_distance([rows], [-rows])), 2), float(layers_distance([rows], [rows]))
    (4.0, 0.0)
    """
    distances = [
        (layer_norm(s, s.shape[-1:]) - layer_norm(t.detach(), t.shape[-1:])).square().mean()
        for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(distances).mean()
