"""Map one vector to a prefix: vectors that a decoder reads in place of tokens.

Mokady et al. 2021, "ClipCap: CLIP prefix for image captioning", section 3.2; the sizes are those of msclap's captioner.

Legend: B vectors, D their width, P prefix positions, W width of the decoder.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from aural.core.config import Config

Size = Annotated[int, Field(ge=1, le=65_536)]


class MapperConfig(Config):
    """A mapper from vectors of width `d_in` to a prefix (`length`, `d_out`).

    kind: "mlp" is two layers; "transformer" reads `slots` projections of the vector next to `length` learned vectors,
    whose states are the prefix.
    """

    d_in: Size
    d_out: Size
    kind: Literal["mlp", "transformer"] = "transformer"
    length: Size = 40
    slots: Size = 40
    depth: Size = 8
    heads: Size = 8
    hidden: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Width of the hidden layer of "mlp"; 0: half of the numbers of the prefix, as in ClipCap."""


class MlpMapper(nn.Module):
    """W2 tanh(W1 x + b1) + b2, cut into the vectors of the prefix."""

    def __init__(self, config: MapperConfig) -> None:
        super().__init__()
        total = config.length * config.d_out
        width = config.hidden or total // 2
        self.length = config.length
        self.hidden, self.out = nn.Linear(config.d_in, width), nn.Linear(width, total)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x).tanh()).unflatten(-1, (self.length, -1))


class MapperLayer(nn.Module):
    """Attention of all positions to all, without biases before it, and a perceptron of twice the width."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.queries, self.keys_values = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 2 * dim, bias=False)
        self.out, self.up, self.down = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.queries(y), *self.keys_values(y).chunk(2, dim=-1))
        )
        x = x + self.out(scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))
        return x + self.down(relu(self.up(self.norm2(x))))


class TransformerMapper(nn.Module):
    """Projections of the vector and learned vectors in one transformer; the states of the latter are the prefix."""

    def __init__(self, config: MapperConfig) -> None:
        super().__init__()
        self.slots = config.slots
        self.linear = nn.Linear(config.d_in, config.slots * config.d_out)
        self.constant = nn.Parameter(torch.randn(config.length, config.d_out))
        self.layers = nn.ModuleList(MapperLayer(config.d_out, config.heads) for _ in range(config.depth))

    def forward(self, x: Tensor) -> Tensor:
        """Return prefixes (B, P, W) of vectors (B, D)."""
        rows = self.linear(x).unflatten(-1, (self.slots, -1))
        rows = torch.cat([rows, self.constant.expand(len(x), -1, -1)], dim=1)
        for layer in self.layers:
            rows = layer(rows)
        return rows[:, self.slots :]


def mapper(config: MapperConfig) -> nn.Module:
    """Return the mapper of a config: vectors (B, D) to prefixes (B, P, W)."""
    return (MlpMapper if config.kind == "mlp" else TransformerMapper)(config)
