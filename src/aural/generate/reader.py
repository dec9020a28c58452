"""A causal decoder that reads one token after the other.

Legend: R rows (texts that are written side by side), P prefix positions, V vocabulary, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aural.nn.causal import Cache, CausalDecoder, Step


class Reader:
    """A decoder that has read a prefix (R, P, D) and knows the next token's log-probabilities (R, V) of each row.

    mask: (R, P), 1 on the prefix and 0 on padding, which is on the left; None: no padding.
    """

    def __init__(self, decoder: CausalDecoder, prefix: Tensor, mask: Tensor | None = None) -> None:
        self.decoder = decoder
        self.mask = torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device) if mask is None else mask
        self._cache: Cache
        self.state: Tensor
        self.log_probs: Tensor
        self._take(decoder.read(prefix, self.mask))

    def push(self, tokens: Tensor, rows: Tensor | None = None) -> None:
        """Read one token (R,) per row, after going on with `rows` (R,) of the rows so far."""
        if rows is not None:
            self.select(rows)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        self._take(self.decoder.read(self.decoder.embed(tokens[:, None]), self.mask, self._cache))

    def select(self, rows: Tensor) -> None:
        """Go on with `rows` (R',) of the rows so far; a row may be repeated."""
        self.mask, self._cache = self.mask[rows], self._cache.select(rows)
        self.log_probs, self.state = self.log_probs[rows], self.state[rows]

    def _take(self, step: Step) -> None:
        self._cache, self.state = step.cache, step.state
        self.log_probs = step.logits.float().log_softmax(-1)
