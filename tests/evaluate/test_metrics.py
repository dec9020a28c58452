"""Test metrics by hand, against scikit-learn, and with weights as repetition of items."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as judge

from aural.core.errors import ConfigError, DataError
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.labels import auroc, average_precision
from aural.evaluate.metrics.ranking import retrieval_arrays


def value(name: str, weights: list[float] | None = None, **arrays: object) -> float:
    made = {key: np.asarray(one) for key, one in arrays.items()}
    return METRICS[name](made, None if weights is None else np.asarray(weights, float))


def test_accuracy_and_macro_f1_by_hand() -> None:
    truth, said = [0, 0, 1, 2], [0, 1, 1, 1]
    assert value("accuracy", targets=truth, predicted=said) == 0.5
    # class 0: 1 hit, 0 wrong, 1 missed: 2/3; class 1: 1 hit, 2 wrong: 2/4; class 2: none: 0
    assert value("macro-f1", targets=truth, predicted=said) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert value("accuracy", [3, 1, 0, 0], targets=truth, predicted=said) == 0.75


def test_average_precision_by_hand() -> None:
    targets, scores = np.array([[1], [0], [1], [0]]), np.array([[0.9], [0.8], [0.7], [0.1]])
    # right ones at places 1 and 3: (1/1 + 2/3) / 2
    assert average_precision(targets, scores)[0] == pytest.approx(5 / 6)
    tied = np.array([[0.5], [0.5], [0.5], [0.1]])
    assert average_precision(targets, tied)[0] == pytest.approx(2 / 3)
    assert np.isnan(average_precision(np.zeros((3, 1)), np.ones((3, 1))))[0]


def test_auroc_by_hand() -> None:
    # pairs (true, false): 0.9 > 0.8, 0.9 > 0.1, 0.7 < 0.8, 0.7 > 0.1
    assert auroc(np.array([[1], [0], [1], [0]]), np.array([[0.9], [0.8], [0.7], [0.1]]))[0] == 0.75
    assert auroc(np.array([[1], [0]]), np.array([[0.5], [0.5]]))[0] == 0.5
    assert np.isnan(auroc(np.ones((3, 1)), np.ones((3, 1))))[0]


def test_f1_over_thresholds_by_hand() -> None:
    targets = [[1, 0], [1, 1], [0, 1]]
    scores = [[0.9, 0.8], [0.9, 0.1], [0.2, 0.9]]
    # predicted above 0.5: [1, 1], [1, 0], [0, 1]: 3 hits, 1 wrong, 1 missed
    assert value("micro-F1", targets=targets, scores=scores, threshold=[0.5] * 3) == pytest.approx(6 / 8)
    # class 0: 2 hits: 1; class 1: 1 hit, 1 wrong, 1 missed: 1/2
    assert value("class-F1", targets=targets, scores=scores, threshold=[0.5] * 3) == pytest.approx(0.75)


def test_retrieval_by_hand() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]])
    right = np.array([[False, True, False, True], [True, False, False, False]])
    arrays = retrieval_arrays(scores, right)
    assert arrays["first"].tolist() == [2, 4]
    assert arrays["ap10"] == pytest.approx([(1 / 2 + 2 / 4) / 2, 1 / 4])
    assert METRICS["R@1"](arrays, None) == 0
    assert METRICS["R@5"](arrays, None) == 1
    assert METRICS["MRR"](arrays, None) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert METRICS["median-rank"](arrays, None) == 2
    assert METRICS["R@1"](retrieval_arrays(-scores, right), None) == 1  # orders 3 2 1 0 and 0 1 2 3
    assert METRICS["recall@1"](retrieval_arrays(-scores, right), None) == pytest.approx((1 / 2 + 1) / 2)


def test_what_map10_divides_by() -> None:
    right = np.zeros((1, 20), bool)
    right[0, :12] = True
    perfect = retrieval_arrays(-np.arange(20.0)[None], right)
    assert METRICS["mAP@10"](perfect, None) == pytest.approx(1)
    assert METRICS["mAP@10/all"](perfect, None) == pytest.approx(10 / 12)
    late = retrieval_arrays(-np.arange(20.0)[None], np.arange(20)[None] >= 10)
    assert METRICS["mAP@10"](late, None) == 0


def test_ties_stand_against_the_model() -> None:
    right = np.eye(3, dtype=bool)
    assert retrieval_arrays(np.ones((3, 3)), right)["first"].tolist() == [3, 3, 3]
    with pytest.raises(DataError, match="at least one relevant document"):
        retrieval_arrays(np.ones((1, 2)), np.zeros((1, 2), bool))


def test_pair_accuracy_by_hand() -> None:
    assert value("pair-accuracy", margin=[0.2, -0.1, 0.0, 0.3]) == pytest.approx((1 + 0 + 0.5 + 1) / 4)


def test_scikit_learn_agrees_with_weights() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((80, 6)) < 0.3).astype(np.uint8)
    scores = np.round(generator.random((80, 6)), 1)  # with ties
    weights = generator.integers(0, 4, 80).astype(float)
    for k in range(6):
        mine = average_precision(targets, scores, weights)[k]
        assert mine == pytest.approx(judge.average_precision_score(targets[:, k], scores[:, k], sample_weight=weights))
        mine = auroc(targets, scores, weights)[k]
        assert mine == pytest.approx(judge.roc_auc_score(targets[:, k], scores[:, k], sample_weight=weights))
    said = (scores > 0.5).astype(int)
    for name, how in (("micro-F1", "micro"), ("class-F1", "macro")):
        mine = value(name, list(weights), targets=targets, scores=scores, threshold=np.full(80, 0.5))
        assert mine == pytest.approx(judge.f1_score(targets, said, average=how, sample_weight=weights))
    truth, guess = generator.integers(0, 5, 80), generator.integers(0, 5, 80)
    mine = value("macro-f1", list(weights), targets=truth, predicted=guess)
    kept = weights > 0
    expected = judge.f1_score(truth[kept], guess[kept], average="macro", sample_weight=weights[kept])
    assert mine == pytest.approx(expected)
    mine = value("accuracy", list(weights), targets=truth, predicted=guess)
    assert mine == pytest.approx(judge.accuracy_score(truth, guess, sample_weight=weights))


def test_ranking_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    scores, right = generator.random((40, 13)), generator.random((40, 13)) < 0.2
    right[:, 0] = True
    arrays = retrieval_arrays(scores, right)
    everything = [judge.average_precision_score(right[q], scores[q]) for q in range(40)]
    few = [q for q in range(40) if right[q][np.argsort(-scores[q])][10:].sum() == 0]
    assert few
    assert arrays["ap10"][few] == pytest.approx([everything[q] for q in few])
    top = [judge.top_k_accuracy_score([0], scores[q : q + 1], k=5, labels=range(13)) for q in range(40)]
    only = np.zeros_like(right)
    only[:, 0] = True
    assert METRICS["R@5"](retrieval_arrays(scores, only), None) == pytest.approx(np.mean(top))


@pytest.mark.parametrize(
    "name", ["accuracy", "macro-f1", "mAP", "AUROC", "micro-F1", "class-F1", "MRR", "median-rank", "mAP@10"]
)
def test_a_weight_is_a_repetition(name: str) -> None:
    generator = np.random.default_rng(2)
    single = {"targets": generator.integers(0, 4, 30), "predicted": generator.integers(0, 4, 30)}
    multi = {
        "targets": (generator.random((30, 4)) < 0.4).astype(int),
        "scores": generator.random((30, 4)),
        "threshold": np.full(30, 0.5),
    }
    right = generator.random((30, 9)) < 0.2
    right[:, 3] = True
    ranks = retrieval_arrays(generator.random((30, 9)), right)
    arrays = (
        single if name in ("accuracy", "macro-f1") else ranks if name in ("MRR", "median-rank", "mAP@10") else multi
    )
    times = generator.integers(0, 3, 30)
    repeated = {key: np.repeat(one, times, axis=0) for key, one in arrays.items()}
    assert METRICS[name](arrays, times.astype(float)) == pytest.approx(METRICS[name](repeated, None))


def test_names_are_exact() -> None:
    with pytest.raises(ConfigError, match='did you mean "mAP@10"'):
        METRICS["map@10"]
    assert all(METRICS[name].__doc__ for name in METRICS)
