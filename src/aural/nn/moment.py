"""The first moment in time of a sequence of features, and a residual that depends on it.

A mean over time forgets the order of two events. The first moment keeps it: it is positive for a feature that is
stronger in the second half, negative for one that is stronger in the first, and 0 for one that does not change.

Legend: B clips, T samples, N tokens, D features, E joint dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEARD = 0.9
"""Least share of samples that are not 0 in a part that is heard. Features of a part in which a sound stops, at the end
of padding, differ from those of its other parts, and would count as a change."""


def heard_parts(wave: Tensor, parts: int) -> Tensor:
    """Return (B, N): 1 for each of N equal parts of waveforms (B, T) without digital silence, else 0.

    >>> heard_parts(torch.tensor([[0.1, 0.5, -0.2, 0.3, 0.0, 0.0]]), 3).tolist()
    [[1.0, 1.0, 0.0]]
    """
    size = wave.shape[1] // parts
    sounding = wave[:, : size * parts].unflatten(1, (parts, size)) != 0
    return (sounding.to(wave.dtype).mean(2) > HEARD).to(wave.dtype)


def first_moment(tokens: Tensor, heard: Tensor) -> Tensor:
    """Return twice the mean of t x (B, D) over the tokens x (B, N, D) that are heard (B, N).

    t runs from -1 to 1 over the window; its mean over the heard tokens is subtracted, so that features that do not
    change have the moment 0 wherever the sound stops. Where nothing is heard, all tokens count. A sound that fills the
    share s of the window has s times the moment that it has at full length, and as much when it is repeated: every
    repetition adds its moment once, and the sum is divided by their number.

    >>> rise = torch.tensor([[[0.0], [0.0], [3.0], [3.0]]])
    >>> first_moment(rise, torch.ones(1, 4)).tolist()
    [[1.5]]
    >>> first_moment(torch.cat([rise, rise, 0 * rise, 0 * rise], dim=1), torch.tensor([[1.0] * 8 + [0.0] * 8])).tolist()
    [[0.375]]
    """
    count = tokens.shape[1]
    time = (2 * torch.arange(count, dtype=tokens.dtype, device=tokens.device) + 1) / count - 1
    weight = torch.where(heard.sum(1, keepdim=True) > 0, heard, 1.0)
    weight = weight / weight.sum(1, keepdim=True)
    centered = time - (weight * time).sum(1, keepdim=True)
    return 2 * ((weight * centered)[..., None] * tokens).sum(1)


class MomentResidual(nn.Module):
    """Adds a map of low rank of a first moment (B, D) to an embedding (B, E); it is linear and has no bias.

    So an embedding of a sound that does not change in time keeps its direction, and a sound whose moment is reversed
    gets the opposite residual.
    """

    def __init__(self, dim: int, rank: int, embed_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        """Of each feature."""
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, embed_dim, bias=False)

    def forward(self, moment: Tensor) -> Tensor:
        """Return the residual (B, E)."""
        residual: Tensor = self.up(self.down(moment * self.scale))
        return residual
