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


def text_log_likelihoods(
    decoder: TextReader, prefix: Tensor, texts: Sequence[Sequence[int]], *, mask: Tensor | None = None
) -> list[float]:
    """Return the sum of the log-probabilities of the tokens of each text (R,).

    prefix: (B, P, D), each read once before R / B texts in a row. texts: token ids, with the token that ends a text if
    it is to count. mask: (B, P), 0 on padding, which is on the left; None: no padding.
    """
    if not texts or not all(texts) or len(texts) % len(prefix):
        raise ConfigError("give at least one text, each with at least one token, and as many for each prefix")
    width, device = max(len(text) for text in texts), prefix.device
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
    target = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=device)
    before = target.new_ones(prefix.shape[:2]) if mask is None else mask
    source = torch.arange(len(prefix), device=device).repeat_interleave(len(texts) // len(prefix))
    step = decoder.read(prefix, before)
    logits = step.logits[source][:, None]
    if width > 1:
        everything = torch.cat([before[source], target[:, :-1]], dim=1)
        rest = decoder.logits(decoder.embed(ids[:, :-1]), everything, step.cache.select(source))
        logits = torch.cat([logits, rest], dim=1)
    rows = logits.float().log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return [float(one) for one in (rows * target).sum(1)]
