"""Draw clips and random numbers as functions of the seed and a number, so that a position is one number.

Sample i of a run is the same at any number of processes and after any interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aural.core.seeds import ORDER as ORDER
from aural.core.seeds import generator as generator

DECK, ITEM, SPARE, STEP, TEACHER, GROUPS = range(ORDER + 1, ORDER + 7)  # what a draw is for
DECK_SIZE = 1000


def number(seed: int, *key: int) -> int:
    """Return a random integer in 0 to 2^63 - 1."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0] >> np.uint64(1))


@lru_cache(maxsize=16)
def permutation(size: int, seed: int, *key: int) -> NDArray[np.int64]:
    """Return the integers below `size` in random order."""
    return generator(seed, *key).permutation(size)


class Deck:
    """Draws from several sources in fixed proportions: a deck of cards, shuffled again each time it is used up.

    >>> deck = Deck([3, 1], seed=0)
    >>> sorted(deck.draw(i) for i in range(4))  # (source, how often it was drawn before)
    [(0, 0), (0, 1), (0, 2), (1, 0)]
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        self.seed = seed
        self.counts = shares(weights)
        self.cards = np.repeat(np.arange(len(self.counts)), self.counts)
        self._last: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def draw(self, i: int) -> tuple[int, int]:
        """Return the source of sample i, and how many samples before i came from it."""
        if len(self.cards) == 1:
            return 0, i
        cycle, place = divmod(i, len(self.cards))
        if self._last is None or self._last[0] != cycle:
            self._last = (cycle, *self._cycle(cycle))
        _, order, before = self._last
        source = int(order[place])
        return source, cycle * int(self.counts[source]) + int(before[place])

    def _cycle(self, cycle: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = self.cards[permutation(len(self.cards), self.seed, DECK, cycle)]
        before = np.empty_like(order)
        for source, count in enumerate(self.counts):
            before[order == source] = np.arange(count)
        return order, before


def shares(weights: Sequence[float]) -> NDArray[np.int64]:
    """Return integers in proportion to the weights, each at least 1: exact for small integer weights, else of 1,000."""
    array = np.asarray(weights, np.float64)
    if len(array) == 1:
        return np.ones(1, np.int64)
    if np.all(array == np.rint(array)) and array.sum() <= DECK_SIZE:
        return array.astype(np.int64)
    exact = array / array.sum() * DECK_SIZE
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    for source in np.argsort(counts - exact)[: max(0, DECK_SIZE - int(counts.sum()))]:
        counts[source] += 1
    return counts
