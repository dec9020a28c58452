"""The log-likelihood of given texts after a prefix, for ranking candidates.

Legend: R texts, P prefix positions, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from aural.core.errors import ConfigError


class TextReader(Protocol):
    """A language model that gives the logits of all positions."""

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input vectors (R, L, D) of token ids (R, L)."""
        ...

    def logits(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return the logits (R, L, V) of all positions of vectors (R, L, D); mask: (R, L), 0 on padding."""
        ...


def text_log_likelihoods(decoder: TextReader, prefix: Tensor, texts: Sequence[Sequence[int]]) -> list[float]:
    """Return the sum of the log-probabilities of the tokens of each text.

    prefix: (1, P, D), read before every text. texts: token ids, with the token that ends a text if it is to count.
    """
    if not texts or not all(texts):
        raise ConfigError("give at least one text, each with at least one token")
    width, device = max(len(text) for text in texts), prefix.device
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
    target = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=device)
    words = decoder.embed(ids)
    vectors = torch.cat([prefix.expand(len(texts), -1, -1).to(words.dtype), words], dim=1)
    mask = torch.cat([target.new_ones(len(texts), prefix.shape[1]), target], dim=1)
    logits = decoder.logits(vectors, mask)[:, prefix.shape[1] - 1 : -1]
    rows = logits.float().log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    return [float(one) for one in (rows * target).sum(1)]
