"""A shallow decoder that reads words and one sentence vector; what it cannot see it must take from the vector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class VectorDecoder(nn.Module):
    """Transformer layers over the sentence vector followed by word embeddings.

    Used to restore words from a bottleneck (DenoSent, SimLM) and to detect edited words given the vector (DiffCSE).

    Legend: B sentences, L words, D width of the words, E width of the vector.

    Source: Wang et al. 2022, SimLM (arXiv 2207.02578), section 3.1 (a shallow decoder behind a bottleneck).
    """

    def __init__(self, vector_dim: int, dim: int, *, depth: int = 1, heads: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.bridge = nn.Linear(vector_dim, dim)
        layers = [
            nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout, "gelu", batch_first=True) for _ in range(depth)
        ]
        self.layers = nn.ModuleList(layers)

    def forward(self, vector: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Return states (B, L, D) of words (B, L, D) with mask (B, L), 1 on words, given vectors (B, E)."""
        states = torch.cat([self.bridge(vector)[:, None], words], 1)
        padding = torch.cat([mask.new_zeros(len(mask), 1, dtype=torch.bool), mask == 0], 1)
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=padding)
        return states[:, 1:]


def continuous_noise(words: Tensor, share: float, generator: Any = None) -> Tensor:
    """Return word embeddings (B, L, D) with a share of all numbers set to 0 and the others scaled by 1 / (1 - share).

    Source: Wang et al. 2024, DenoSent (arXiv 2401.13621), section 3.2: dropout as continuous noise on the embeddings.

    >>> continuous_noise(torch.ones(1, 1, 3), 0.0)
    tensor([[[1., 1., 1.]]])
    """
    kept = (torch.rand(words.shape, generator=generator) >= share).to(words)
    return words * kept / (1 - share)
