"""Canonical correlations against scikit-learn, information against scikit-learn, and edits against known pairs."""

import numpy as np
import pytest

from aural.evaluate.metrics.edits import edit_distance, error_rate
from aural.evaluate.probing.cca import canonical_correlations, mean_cca, permuted
from aural.evaluate.probing.information import mutual_information


def test_correlations_equal_scikit_learn() -> None:
    from sklearn.cross_decomposition import CCA

    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    y = x @ rng.standard_normal((3, 2)) + rng.standard_normal((200, 2))
    scores = CCA(2, scale=False, max_iter=5000, tol=1e-12).fit(x, y).transform(x, y)
    expected = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(2)]
    assert canonical_correlations(x, y, kept=1.0) == pytest.approx(expected, abs=1e-4)


def test_a_linear_map_changes_nothing_and_a_permutation_everything() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, 5))
    assert mean_cca(x, x @ rng.standard_normal((5, 5)) + 3.0, kept=1.0) == pytest.approx(1.0)
    assert mean_cca(x, permuted(x, 0)) < 0.15
    assert mean_cca(x, np.ones((500, 2))) == 0.0


def test_information_equals_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    rng = np.random.default_rng(0)
    first = rng.integers(0, 5, 300)
    second = (first + rng.integers(0, 2, 300)) % 4
    assert mutual_information(first, second) == pytest.approx(mutual_info_score(first, second) / np.log(2))
    assert mutual_information(first, rng.permutation(first)) < 0.1


@pytest.mark.parametrize(
    ("true", "written", "distance"), [("", "", 0), ("abc", "", 3), ("abc", "axc", 1), ("ab", "ba", 2)]
)
def test_edits(true: str, written: str, distance: int) -> None:
    assert edit_distance(true, written) == distance


def test_word_error_rate_of_lists() -> None:
    assert error_rate(["a", "bird", "sings"], ["the", "bird", "sings", "now"]) == pytest.approx(2 / 3)
