from __future__ import annotations

import numpy as np
import pytest

from aural.core.errors import DataError
from aural.evaluate.audit.anomaly import anomaly_scores, gibberish_names, mahalanobis


def test_mahalanobis_is_the_one_of_scikit_learn_with_the_same_shrinkage() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 3))
    rows = rng.standard_normal((5, 3)) * 3
    judge = covariance.ShrunkCovariance(shrinkage=0.1).fit(normal)
    assert mahalanobis(rows, normal) ** 2 == pytest.approx(judge.mahalanobis(rows))


def test_what_lies_outside_is_an_anomaly_and_gibberish_is_not() -> None:
    rng = np.random.default_rng(0)
    gibberish, more = rng.standard_normal((2, 200, 4))
    assert anomaly_scores(gibberish.mean(0, keepdims=True) + 20, gibberish).tolist() == [1.0]
    assert anomaly_scores(more, gibberish).mean() == pytest.approx(0.5, abs=0.06)
    assert anomaly_scores(np.zeros((1, 4)), gibberish)[0] < 0.1
    with pytest.raises(DataError, match="9 gibberish texts are too few"):
        anomaly_scores(more, gibberish[:9])


def test_gibberish_names_are_distinct_and_drawn() -> None:
    names = gibberish_names(50, np.random.default_rng(1))
    assert len(set(names)) == 50
    assert names == gibberish_names(50, np.random.default_rng(1))
    assert all(len(name.split()) == 2 and name.istitle() for name in names)
