"""Measures of a quantizer's codes: perplexity, the loss that spreads it, collapse, and the rate of changes.

Legend: B clips, T frames, G codebooks, V codes per codebook.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 0.25
"""Share of the codes below which usage counts as collapsed."""


def perplexity(probabilities: Tensor) -> Tensor:
    """Return exp(-sum_v p_v log p_v) of distributions (..., V): the number of codes that are used evenly.

    >>> perplexity(torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]]))
    tensor([4., 1.])
    """
    return torch.special.entr(probabilities).sum(-1).exp()


def usage(ids: Tensor, codes: int) -> Tensor:
    """Return the share (G, V) of each code in ids (..., G)."""
    flat = ids.reshape(-1, ids.shape[-1])
    counts = torch.zeros(flat.shape[1], codes, device=ids.device)
    counts.scatter_add_(1, flat.T, torch.ones_like(flat.T, dtype=counts.dtype))
    return counts / max(len(flat), 1)


def code_perplexity(ids: Tensor, codes: int) -> Tensor:
    """Return the mean perplexity of the codebooks over ids (..., G), between 1 and V.

    >>> round(float(code_perplexity(torch.tensor([[0], [1], [1], [0]]), 4)), 3)
    2.0
    """
    return perplexity(usage(ids, codes)).mean()


def is_collapsed(ids: Tensor, codes: int, floor: float = FLOOR) -> bool:
    """Return whether the perplexity over ids (..., G) is below `floor` times the number of codes."""
    return float(code_perplexity(ids, codes)) < floor * codes


def diversity_loss(probabilities: Tensor) -> Tensor:
    """Return 1 - sum_g exp(H(p_g)) / (G V), p_g being the mean of soft choices (..., G, V) over the first axes.

    It is 0 when every codebook is used evenly, and 1 - 1 / V when each has collapsed to one code.

    Source: wav2vec 2.0 (arXiv 2006.11477), equation 4, in the form of its implementations.
    """
    mean = probabilities.reshape(-1, *probabilities.shape[-2:]).mean(0)  # (G, V)
    return 1 - perplexity(mean).sum() / mean.numel()


def change_rate(ids: Tensor) -> Tensor:
    """Return the share (B,) of frames of ids (B, T, G) whose codes differ from those of the frame before.

    >>> change_rate(torch.tensor([[[3], [3], [5]]]))
    tensor([0.5000])
    """
    return (ids[:, 1:] != ids[:, :-1]).any(-1).float().mean(1)
