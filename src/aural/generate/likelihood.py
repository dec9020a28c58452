"""The log-likelihood of given texts after a prefix, for ranking candidates.

Legend: R texts, P prefix positions, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.nn.causal import Cache, CausalDecoder


class TextReader(CausalDecoder, Protocol):
    """A language model that gives the logits of all positions."""

    def logits(self, vectors: Tensor, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the logits (R, L, V) of all positions of vectors (R, L, D) after those of the cache.

        mask: (R, all positions, those in the cache first), 0 on padding.
        """
        ...


def text_log_likelihoods(decoder: TextReader, prefix: Tensor, texts: Sequence[Sequence[int]]) -> list[float]:
    """Return the sum of the log-probabilities of the tokens of each text.

    prefix: (1, P, D), read once before all texts. texts: token ids, with the token that ends a text if it is to count.
    """
    if not texts or not all(texts):
        raise ConfigError("give at least one text, each with at least one token")
    width, device = max(len(text) for text in texts), prefix.device
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
    target = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=device)
    before = target.new_ones(len(texts), prefix.shape[1])
    step = decoder.read(prefix, before[:1])
    logits = step.logits[:, None].expand(len(texts), -1, -1)
    if width > 1:
        cache = step.cache.select(torch.zeros(len(texts), dtype=torch.long, device=device))
        mask = torch.cat([before, target[:, :-1]], dim=1)
        logits = torch.cat([logits, decoder.logits(decoder.embed(ids[:, :-1]), mask, cache)], dim=1)
    rows = logits.float().log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return [float(one) for one in (rows * target).sum(1)]
