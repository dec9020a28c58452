"""A causal transformer that reads vectors in place of tokens and keeps what it has read: the decoder of GPT-2.

Radford et al. 2019, "Language models are unsupervised multitask learners": layer norms before attention and
perceptron, tanh GELU, learned positions, the table of tokens as output layer. With `rope_theta` positions turn
queries and keys instead (Su et al. 2021, "RoFormer", arXiv 2104.09864, equation 34).

Legend: R rows, L new positions, S all positions, D width, H heads, V vocabulary.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from aural.core.config import Config
from aural.nn.causal import Cache, Step

Size = Annotated[int, Field(ge=1, le=65_536)]


class DecoderConfig(Config):
    """The sizes of a decoder; the defaults are those of GPT-2 with 124 M parameters."""

    vocab_size: Annotated[int, Field(ge=2, le=1 << 24)] = 50_257
    positions: Size = 1024
    dim: Size = 768
    depth: Size = 12
    heads: Size = 12
    layer_norm_eps: float = 1e-5
    rope_theta: Annotated[float, Field(ge=0)] = 0.0
    """Base of the frequencies of rotary positions; 0: learned positions."""

    @model_validator(mode="after")
    def _divides(self) -> DecoderConfig:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        if self.rope_theta and self.dim // self.heads % 2:
            raise ValueError(f"rotary positions need an even width per head, not {self.dim // self.heads}")
        return self


class KeysValues(NamedTuple):
    """Keys and values (R, H, S, D / H) of every layer."""

    layers: tuple[tuple[Tensor, Tensor], ...]

    def select(self, rows: Tensor) -> KeysValues:
        """Return those of the rows (R',), which may be repeated or left out."""
        return KeysValues(tuple((keys[rows], values[rows]) for keys, values in self.layers))


class Layer(nn.Module):
    """Causal attention over the cache and the new positions, then a perceptron of four times the width."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads, dim = config.heads, config.dim
        self.norm1, self.norm2 = (nn.LayerNorm(dim, config.layer_norm_eps) for _ in range(2))
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(
        self, x: Tensor, allowed: Tensor, past: tuple[Tensor, Tensor] | None, angles: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return states (R, L, D) and the keys and values of all positions.

        allowed: (R, 1, L, S), True where seen. angles: (R, 1, L, D / 2H) by which queries and keys are turned.
        """
        queries, keys, values = self.projected(x)
        if angles is not None:
            queries, keys = turned(queries, angles), turned(keys, angles)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        heard = scaled_dot_product_attention(queries, keys, values, attn_mask=allowed[..., -keys.shape[2] :])
        x = x + self.out(heard.transpose(1, 2).flatten(2))
        return x + self.down(gelu(self.up(self.norm2(x)), approximate="tanh")), (keys, values)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (R, H, L, D / H) of states (R, L, D)."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        return queries, keys, values


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Return x (..., 2 N) with each pair (x_n, x_{n + N}) turned by its angle (..., N).

    >>> turned(torch.tensor([1.0, 0.0]), torch.tensor([torch.pi / 2])).round().tolist()
    [-0.0, 1.0]
    """
    first, second = x.chunk(2, dim=-1)
    sine, cosine = angles.sin(), angles.cos()
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Decoder(nn.Module):
    """A causal language model. `forward` gives the logits of all positions, for training; `read` those of the last."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.dim)
        self.places = None if config.rope_theta else nn.Embedding(config.positions, config.dim)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, config.layer_norm_eps)
        for module in self.modules():  # GPT-2, section 2.3: smaller where the residual stream is written to
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        for name, parameter in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / (2 * config.depth) ** 0.5)

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input vectors (R, L, D) of token ids (R, L), without positions."""
        vectors: Tensor = self.tokens(ids)
        return vectors

    def forward(
        self,
        vectors: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        *,
        places: Tensor | None = None,
    ) -> Tensor:
        """Return logits (R, L, V) of vectors (R, L, D), read after the S - L positions of the cache.

        mask: (R, S), 0 on padding, which may be on either side. A layer may have fewer positions in the cache than
        others; its last ones count (`aural.nn.bridges.inject`). places: (R, L), the positions of the vectors as real
        numbers, for rotary positions only; default: the number of vectors before.
        """
        mask = vectors.new_ones(vectors.shape[:2], dtype=torch.long) if mask is None else mask
        states, _ = self._states(vectors, mask, cast("KeysValues | None", cache), places)
        return linear(states, self.tokens.weight)

    def read(self, vectors: Tensor, mask: Tensor, cache: Cache | None = None) -> Step:
        """Read vectors (R, L, D) after the S - L positions of the cache; mask: (R, S), padding on the left.

        Raises ValueError when S is more than `positions`.
        """
        states, layers = self._states(vectors, mask, cast("KeysValues | None", cache))
        last = states[:, -1]
        return Step(linear(last, self.tokens.weight), last, KeysValues(layers))

    def _states(
        self, vectors: Tensor, mask: Tensor, cache: KeysValues | None, places: Tensor | None = None
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        length, total = vectors.shape[1], mask.shape[1]
        if total > self.config.positions:
            raise ValueError(f"{total} positions are more than the {self.config.positions} of the decoder")
        place = (mask.cumsum(1) - 1).clamp_min(0)[:, total - length :]
        order = torch.arange(total, device=vectors.device)
        seen = order <= order[total - length :, None]  # (L, S)
        allowed = seen & mask[:, None, None, :].bool()
        allowed = allowed | (order == order[total - length :, None])  # padding sees itself, so that no row is empty
        x, angles = vectors, None
        if self.places is None:
            angles = self._angles(place if places is None else places)
        else:
            x = x + self.places(place)
        layers: list[tuple[Tensor, Tensor]] = []
        for number, layer in enumerate(self.layers):
            x, kept = layer(x, allowed, None if cache is None else cache.layers[number], angles)
            layers.append(kept)
        return self.norm(x), tuple(layers)

    def _angles(self, places: Tensor) -> Tensor:
        """Return the angles (R, 1, L, D / 2H) of positions (R, L)."""
        width = self.config.dim // self.config.heads
        numbers = torch.arange(0, width, 2, device=places.device, dtype=torch.float32)
        frequencies = self.config.rope_theta ** (-numbers / width)
        return (places[..., None].float() * frequencies)[:, None]
