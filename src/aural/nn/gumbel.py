"""Quantize vectors by a learned choice of code per codebook, with the Gumbel softmax.

Legend: B clips, T frames, D width, G codebooks, V codes per codebook, E width of the quantized vector.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax


class Codes(NamedTuple):
    """The output of a quantizer.

    vectors: (B, T, E). ids: (B, T, G). soft: (B, T, G, V), the probabilities without noise; None if the quantizer has
    none. loss: a scalar of the quantizer, such as the distance to its codes; None if it has none.
    """

    vectors: Tensor
    ids: Tensor
    soft: Tensor | None = None
    loss: Tensor | None = None


class GumbelQuantizer(nn.Module):
    """A product quantizer: a linear layer scores the codes of each codebook, and the chosen codes are concatenated.

    In training the choice is a straight-through Gumbel softmax at `temperature`; in evaluation it is the maximum. The
    tensors have the names and layouts of `Wav2Vec2GumbelVectorQuantizer` of transformers.

    Source: Baevski et al. 2020, wav2vec 2.0 (arXiv 2006.11477), section 2; Jang et al. 2016 (arXiv 1611.01144).
    """

    def __init__(self, dim: int, out: int, *, groups: int = 2, codes: int = 32, temperature: float = 1.0) -> None:
        super().__init__()
        self.groups, self.codes, self.temperature = groups, codes, temperature
        self.weight_proj = nn.Linear(dim, groups * codes)
        self.codevectors = nn.Parameter(torch.rand(1, groups * codes, out // groups))
        nn.init.normal_(self.weight_proj.weight)
        nn.init.zeros_(self.weight_proj.bias)

    def forward(self, x: Tensor) -> Codes:
        logits = self.weight_proj(x).view(*x.shape[:2], self.groups, self.codes).float()
        ids = logits.argmax(-1)
        soft = logits.softmax(-1)
        if self.training:
            chosen = gumbel_softmax(logits, self.temperature, hard=True)
        else:
            chosen = nn.functional.one_hot(ids, self.codes).to(logits)
        books = self.codevectors.view(self.groups, self.codes, -1)
        vectors = torch.einsum("btgv,gve->btge", chosen.to(books), books).flatten(2)
        return Codes(vectors, ids, soft)
