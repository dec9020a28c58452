"""Metrics and scores of sentence vectors against scipy, scikit-learn and closed forms."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from aural.evaluate.audit.geometry import isotropy
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.metrics.sentences import weighted_spearman
from aural.reproduce.sentence_scores import probed_rows, rank_products, reciprocal_ranks

RNG = np.random.default_rng(0)


def test_spearman_equals_scipy_with_ties_and_repeated_items() -> None:
    x, y = RNG.integers(0, 6, 40).astype(float), RNG.integers(0, 6, 40).astype(float)
    weights = RNG.integers(0, 4, 40)
    assert METRICS["spearman"]({"predicted": x, "gold": y}, None) == pytest.approx(spearmanr(x, y)[0])
    repeated = spearmanr(np.repeat(x, weights), np.repeat(y, weights))[0]
    assert weighted_spearman(x, y, weights.astype(float)) == pytest.approx(repeated)
    assert weighted_spearman(np.ones(5), np.arange(5.0)) == 0.0
    assert rank_products(x, y).mean() == pytest.approx(spearmanr(x, y)[0])
    assert not rank_products(np.ones(4), np.arange(4.0)).any()


def test_reciprocal_ranks_in_closed_form() -> None:
    queries = np.eye(3)
    passages = np.array([[0.9, 0.0, 0.1], [1.0, 0.5, 0.2], [0.0, 0.5, 0.3]])
    answer = np.array([0, 1, 2])
    expected = np.array([1 / 2, 1 / 2, 1.0])  # of equal scores the answer counts as the last
    assert reciprocal_ranks(queries, passages, answer).tolist() == expected.tolist()
    arrays = retrieval_arrays(queries @ passages.T, np.eye(3, dtype=bool))
    assert METRICS["MRR@10"](arrays, None) == pytest.approx(expected.mean())
    many = np.arange(12.0)[::-1][None]
    assert METRICS["MRR@10"](retrieval_arrays(many, np.arange(12)[None] == 11), None) == 0.0  # rank 12


def test_alignment_counts_pairs_of_equal_meaning_only() -> None:
    arrays = {"predicted": np.array([1.0, 0.0, -1.0]), "gold": np.array([1.0, 1.0, 0.2])}
    assert METRICS["alignment"](arrays, None) == pytest.approx((0.0 + 2.0) / 2)


def test_isotropy_of_a_collapsed_space_is_small() -> None:
    collapsed = np.tile(np.eye(4)[:1], (50, 1))
    assert isotropy(collapsed) == pytest.approx(np.exp(-2))
    assert isotropy(np.concatenate([np.eye(4), -np.eye(4)])) == pytest.approx(1.0)


def test_the_probe_equals_ridge_regression_of_scikit_learn() -> None:
    train, test = RNG.standard_normal((60, 5)), RNG.standard_normal((30, 5))
    labels, true = RNG.integers(0, 3, 60), RNG.integers(0, 3, 30)
    scaler = StandardScaler().fit(train)
    padded = [np.column_stack([scaler.transform(part), np.ones(len(part))]) for part in (train, test)]
    ridge = Ridge(alpha=1.0, fit_intercept=False).fit(padded[0], np.eye(3)[labels])
    expected = ridge.predict(padded[1]).argmax(1) == true
    assert probed_rows(train, labels, test, true).astype(bool).tolist() == expected.tolist()
