"""Projection heads from the pooled vector (B, D) of an encoder to the joint space (B, E)."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from aural.nn.functional import unit

ProjectionKind = Literal["residual", "mlp", "linear", "log-linear", "low-rank", "none"]
RANK_SHARE = 6
"""The rank of "low-rank" is a sixth of the width."""


class Residual(nn.Module):
    """LayerNorm(a + W2 gelu(a)) with a = W1 x, no biases: Microsoft CLAP (2022), models/clap.py."""

    def __init__(self, d_in: int, d_out: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d_in, d_out, bias=False)
        self.linear2 = nn.Linear(d_out, d_out, bias=False)
        self.layer_norm = nn.LayerNorm(d_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        a = self.linear1(x)
        return self.layer_norm(a + self.dropout(self.linear2(nn.functional.gelu(a))))


class Mlp(nn.Module):
    """W2 relu(W1 x + b1) + b2: LAION CLAP (2022) and transformers' ClapProjectionLayer."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d_in, d_out)
        self.linear2 = nn.Linear(d_out, d_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(nn.functional.relu(self.linear1(x)))


class LogLinear(nn.Linear):
    """W log(1 + x) + b for features x >= 0; the logarithm shortens their long tails."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp_min(0).log1p())


class LowRank(nn.Module):
    """x + W2 gelu(W1 x sqrt(D)) + b for unit vectors x of the input, with D / 6 hidden numbers: a small correction."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = math.sqrt(dim)
        self.down = nn.Linear(dim, max(1, dim // RANK_SHARE))
        self.up = nn.Linear(max(1, dim // RANK_SHARE), dim)

    def forward(self, x: Tensor) -> Tensor:
        x = unit(x)
        return x + self.up(nn.functional.gelu(self.down(self.scale * x)))


def projection(kind: ProjectionKind, d_in: int, d_out: int) -> nn.Module:
    """Return the head `kind`; "low-rank" and "none" need D equal to E; "none" returns its input."""
    if kind == "residual":
        return Residual(d_in, d_out)
    if kind == "mlp":
        return Mlp(d_in, d_out)
    if kind in ("linear", "log-linear"):
        return (nn.Linear if kind == "linear" else LogLinear)(d_in, d_out)
    return LowRank(d_in) if kind == "low-rank" else nn.Identity()
