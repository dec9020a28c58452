"""Learned queries that read the frames of a sound and become a prefix.

Li et al. 2023, "BLIP-2" (arXiv 2301.12597), section 3.1: a transformer of learned queries with self-attention among
them and cross-attention to frozen features.

Legend: B sounds, T frames, F their width, P queries, W width of the decoder, H heads.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu

from aural.core.config import Config

Size = Annotated[int, Field(ge=1, le=65_536)]


class QFormerConfig(Config):
    """Sizes of a Q-former from frames of width `d_in` to a prefix (`queries`, `d_out`)."""

    d_in: Size
    d_out: Size
    queries: Size = 32
    depth: Size = 2
    heads: Size = 4


class QFormerLayer(nn.Module):
    """Self-attention of the queries, attention to the frames, and a perceptron, each with a norm before it."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.among = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, queries: Tensor, frames: Tensor, hidden: Tensor | None) -> Tensor:
        """Return queries (B, P, W). hidden: (B, T), True on frames that are padding."""
        x = self.norms[0](queries)
        queries = queries + self.among(x, x, x, need_weights=False)[0]
        x = self.norms[1](queries)
        queries = queries + self.cross(x, frames, frames, key_padding_mask=hidden, need_weights=False)[0]
        result: Tensor = queries + self.down(gelu(self.up(self.norms[2](queries))))
        return result


class QFormer(nn.Module):
    """Frames (B, T, F) to a prefix (B, P, W), whatever the number of frames."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.queries, config.d_out) * 0.02)
        self.input = nn.Linear(config.d_in, config.d_out)
        self.layers = nn.ModuleList(QFormerLayer(config.d_out, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.d_out)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return prefixes (B, P, W). mask: (B, T), 1 on frames and 0 on padding."""
        x, hidden = self.input(frames), None if mask is None else mask == 0
        queries = self.queries.expand(len(frames), -1, -1)
        for layer in self.layers:
            queries = layer(queries, x, hidden)
        result: Tensor = self.norm(queries)
        return result
