"""Better pairs for contrast: noise as negatives, weights of false negatives, and debiased or filtered selection."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def noise_negatives(
    rows: Tensor,
    count: int,
    *,
    steps: int = 4,
    rate: float = 0.1,
    temperature: float = 0.05,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return unit rows (count, E) of Gaussian noise that was moved toward the sentences, for use as negatives.

    Formula: n = N(0, 1); `steps` times n_j += rate * g_j / |g_j|, with g the gradient of
    mean_i log sum_j exp(cos(h_i, n_j) / temperature). The gradient ascent makes the noise hard: contrast with it
    pushes sentences out of the regions where they crowd.

    Args:
        rows: unit rows (B, E); no gradient reaches them.
        generator: on the CPU; the noise does not depend on the device.

    Source: Zhou et al. 2022, DCLR (arXiv 2205.00656), section 3.1, equations 5 to 7.
    """
    target = rows.detach()
    noise = torch.randn(count, rows.shape[1], generator=generator).to(target)
    for _ in range(steps):
        with torch.enable_grad():
            moved = noise.clone().requires_grad_()
            crowding = (target @ normalize(moved, dim=1).T / temperature).logsumexp(1).mean()
            (gradient,) = torch.autograd.grad(crowding, moved)
        noise = noise + rate * normalize(gradient, dim=1)
    return normalize(noise, dim=1)


def suspicion(frozen: Tensor) -> Tensor:
    """Return (B, B): how likely column j is a false negative of anchor i, its cosine in a frozen model.

    The diagonal is -1: a sentence is no negative of itself. `aural.objectives.targets.false_negative_weights`
    compares the same cosine with a threshold.

    Source: Zhou et al. 2022, DCLR (arXiv 2205.00656), section 3.2.

    >>> suspicion(torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """
    unit = normalize(frozen.detach(), dim=1)
    return (unit @ unit.T).fill_diagonal_(-1.0)


def inverse_propensity(surface: Tensor, semantic: Tensor, *, power: float = 1.0) -> Tensor:
    """Return sampling probabilities (B, K) of candidates that favor what plain sampling rarely draws.

    Formula: p_ik proportional to semantic_ik / surface_ik^power. Candidates that mean the same (semantic near 1) but
    look different (surface near 0) are drawn most. Call it with 1 - semantic and 1 - surface to draw negatives that
    mean something else but look alike.

    Args:
        surface: (B, K) similarity of form, in [0, 1]; clamped from below at 0.05 to bound the weights.
        semantic: (B, K) similarity of meaning, clamped to [0, 1].

    Raises nothing: a row whose semantic similarities are all 0 is uniform.

    Source: Miao et al. 2023, DebCSE (arXiv 2309.07396), section 3.2: inverse propensity weighted sampling by surface
    and semantic similarity.

    >>> inverse_propensity(torch.tensor([[0.5, 0.25]]), torch.tensor([[1.0, 1.0]]))
    tensor([[0.3333, 0.6667]])
    """
    weight = semantic.clamp(0, 1) / surface.clamp(min=0.05).pow(power)
    total = weight.sum(1, keepdim=True)
    even = torch.full_like(weight, 1 / weight.shape[1])
    return torch.where(total > 0, weight / total.where(total > 0, 1), even)


def confident(similarity: Tensor, share: float) -> Tensor:
    """Return the places, in ascending order, of the `share` of items (N,) with the highest similarity, at least one.

    Source: Wang et al. 2023, MultiCSR (arXiv 2310.10962), sections 3.2 and 3.3: keep generated sentences and pairs
    that a model rates highly.

    >>> confident(torch.tensor([0.9, 0.1, 0.5, 0.7]), 0.5)
    tensor([0, 3])
    """
    kept = max(1, round(share * len(similarity)))
    return similarity.topk(kept).indices.sort().values
