"""Draws by number: exact proportions, every clip once an epoch, nothing depends on what was drawn before."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aural.train.draw import DECK_SIZE, Deck, permutation, shares


@given(weights=st.lists(st.floats(0.01, 1e6), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_cycle_of_the_deck_holds_the_shares_and_counts_each_source(weights: list[float], seed: int) -> None:
    deck = Deck(weights, seed)
    size = len(deck.cards)
    drawn = [deck.draw(i) for i in range(2 * size)]
    for source, count in enumerate(deck.counts):
        own = [n for place, n in drawn if place == source]
        assert own == list(range(2 * count))  # each source's clips come in its own order, none left out


def test_shares_are_exact_for_small_whole_weights_and_rounded_by_largest_remainder_else() -> None:
    assert shares([3, 1]).tolist() == [3, 1]
    assert shares([5.5]).tolist() == [1]
    thirds = shares([1 / 3, 1 / 3, 1 / 3])
    assert thirds.sum() == DECK_SIZE
    assert set(thirds) == {333, 334}
    assert shares([1e-9, 1.5])[0] == 1  # a source is never forgotten


def test_a_draw_is_a_function_of_its_number() -> None:
    a, b = Deck([2.5, 1.5], 7), Deck([2.5, 1.5], 7)
    forwards = [a.draw(i) for i in range(500)]
    assert [b.draw(i) for i in reversed(range(500))] == forwards[::-1]
    assert sorted(permutation(100, 3, 0).tolist()) == list(range(100))
    assert not np.array_equal(permutation(100, 3, 0), permutation(100, 3, 1))


def test_one_source_is_drawn_in_order_and_cycles_may_be_visited_in_any_order() -> None:
    assert [Deck([5.0], 0).draw(i) for i in (0, 7, 3)] == [(0, 0), (0, 7), (0, 3)]
    deck = Deck([2, 1], 3)
    forward = [deck.draw(i) for i in range(12)]
    assert [deck.draw(i) for i in reversed(range(12))] == forward[::-1]
