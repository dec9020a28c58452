"""Runs of like segments say which sound is heard in which, and where."""

from __future__ import annotations

import numpy as np
import pytest

from aural.core.vectors import unit_rows
from aural.search.occurrences import ALIKE, SURE, Prints, longest_run, occurrences


def rows(seed: int, count: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32))


def starts(count: int) -> np.ndarray:
    return (0.5 * np.arange(count)).astype(np.float32)


def test_a_part_of_one_sound_is_placed_in_another() -> None:
    long = rows(0, 40)
    noisy = unit_rows(long[12:18] + 0.05 * rows(1, 6))
    sounds = [Prints(long, starts(40)), Prints(rows(2, 9), starts(9)), Prints(noisy, starts(6))]
    (hit,) = occurrences(sounds, segment_s=1.0, hop_s=0.5)
    assert (hit.sound, hit.inside, hit.segments) == (2, 0, 6)
    assert (hit.at_s, hit.inside_at_s, hit.duration_s) == (0.0, 6.0, 3.5)
    assert hit.cosine == pytest.approx(float(np.sum(long[12:18] * noisy, axis=1).mean()), abs=1e-6)


def test_silent_segments_keep_their_places() -> None:
    long = rows(0, 10)
    part = Prints(long[[4, 6, 7]], np.array([0.0, 1.0, 1.5], np.float32))
    (hit,) = occurrences([part, Prints(long, starts(10))], segment_s=1.0, hop_s=0.5)
    assert (hit.inside_at_s, hit.duration_s, hit.segments) == (2.0, 2.5, 3)


def test_a_run_needs_less_per_segment_the_longer_it_is() -> None:
    at = np.arange(4)
    for count in (1, 2, 4):
        limit = SURE - (SURE - ALIKE) * (1 - 1 / count)
        below, above = (np.full(count, limit + step) for step in (-0.001, 0.001))
        assert longest_run(at[:count], at[:count] + 3, below) is None
        run = longest_run(at[:count], at[:count] + 3, above)
        assert run is not None
        assert (run.left, run.right, run.ticks, run.segments) == (0, 3, count - 1, count)


def test_pairs_in_other_orders_are_no_run() -> None:
    shuffled = np.array([9, 2, 7, 0])
    assert longest_run(np.arange(4), shuffled, np.full(4, 0.8)) is None  # four runs of one segment
    drifting = longest_run(np.arange(4), np.array([5, 6, 8, 9]), np.full(4, 0.8))  # a little slower
    assert drifting is not None
    assert drifting.segments == 4


def test_no_sounds_and_empty_sounds_have_no_occurrences() -> None:
    empty = Prints(np.empty((0, 64), np.float32), np.empty(0, np.float32))
    assert occurrences([], segment_s=1.0, hop_s=0.5) == []
    assert occurrences([empty, empty, Prints(rows(0, 3), starts(3))], segment_s=1.0, hop_s=0.5) == []
