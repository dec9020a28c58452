from __future__ import annotations

import numpy as np
import pytest

from aural.search.warping import warped_distance


def test_it_is_the_distance_of_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    rng = np.random.default_rng(0)
    sequences = [rng.standard_normal((n, 5)) for n in (7, 4, 11, 9)]
    distances = warped_distance(sequences)
    for i, a in enumerate(sequences):
        for j, b in enumerate(sequences):
            if i != j:
                cost = librosa.sequence.dtw(a.T, b.T, metric="cosine", backtrack=False)[-1, -1]
                assert distances[i, j] == pytest.approx(cost / (len(a) + len(b)))
    assert (distances == distances.T).all()


def test_a_slower_copy_is_nearer_than_another_sequence() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, 8, 6))
    distances = warped_distance([one, np.repeat(one, 2, axis=0), other])
    assert distances[0, 1] == pytest.approx(0, abs=1e-12)
    assert distances[0, 2] > 0.2
