"""Groups of a map that is made here: places, order by size, and words by advantage."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from aural.search.map_groups import _clusters, _names


def test_clusters_are_places_from_the_largest_on() -> None:
    draw = np.random.default_rng(0)
    centers, sizes = [(-0.8, 0.0), (0.8, 0.8), (0.8, -0.8)], [30, 50, 40]
    parts = [np.array(c) + 0.05 * draw.standard_normal((n, 2)) for c, n in zip(centers, sizes, strict=True)]
    groups = _clusters(np.concatenate(parts).astype(np.float32))
    counts = np.bincount(groups)
    assert list(counts) == sorted(counts, reverse=True)
    starts = np.cumsum([0, *sizes])
    of_part = [set(groups[a:b]) for a, b in pairwise(starts)]
    assert not (of_part[0] & of_part[1])
    assert not (of_part[0] & of_part[2])
    assert not (of_part[1] & of_part[2])
    assert set(_clusters(np.zeros((20, 2), np.float32))) == {0}  # too few for two groups


def test_names_are_the_words_with_the_largest_advantage() -> None:
    words = ("rain", "wind", "dog", "bell")
    advantages = [np.array(row, np.float32) for row in ([0.9, 0.8, 0.1, 0], [0, 0.1, 0.9, 0.2], [0.1, 0.0, 0.8, 0.1])]
    assert _names(advantages, words) == ["rain, wind", "dog", "dog 2"]
