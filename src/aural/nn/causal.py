"""The interface between a causal decoder and the search for a text.

Legend: R rows (texts that are written side by side), L new positions, V vocabulary, D width.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Cache(Protocol):
    """Keys and values of the positions that a decoder has read."""

    def select(self, rows: Tensor) -> Cache:
        """Return the cache of the rows (R',), which may be repeated or left out."""
        ...


class Step(NamedTuple):
    """The result of reading: logits (R, V) and state (R, D) of the last position, and the cache to go on from."""

    logits: Tensor
    state: Tensor
    cache: Cache


class CausalDecoder(Protocol):
    """A language model that reads vectors in place of tokens, with a cache."""

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input vectors (R, L, D) of token ids (R, L)."""
        ...

    def read(self, vectors: Tensor, mask: Tensor, cache: Cache | None = None) -> Step:
        """Read vectors (R, L, D) after the positions in the cache.

        mask: (R, all positions, those in the cache first), 1 where a position holds a vector; padding is on the left.
        """
        ...
