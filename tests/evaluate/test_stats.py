"""Test the coverage of intervals, the power of paired tests, and folds by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aural.evaluate.metrics import METRICS
from aural.evaluate.stats import interval, mcnemar, mean_and_spread, paired, per_fold, resample


def labels(right: np.ndarray, units: np.ndarray | None = None) -> dict[str, np.ndarray]:
    count = len(right)
    return {
        "targets": np.ones(count, int),
        "predicted": np.asarray(right).astype(int),
        "units": np.arange(count) if units is None else units,
    }


def test_the_interval_of_a_share_is_the_normal_one() -> None:
    right = np.arange(400) % 4 > 0  # 0.75
    low, high = interval(METRICS["accuracy"], labels(right), np.random.default_rng(0), resamples=4000)
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - spread, 0.75 + spread), abs=0.005)


def test_intervals_cover_the_truth_about_95_times_of_100() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        low, high = interval(METRICS["accuracy"], labels(generator.random(150) < 0.6), generator, resamples=200)
        covered += low <= 0.6 <= high
    assert 180 <= covered <= 199


def test_the_interval_of_rare_classes_holds_the_score() -> None:
    generator = np.random.default_rng(1)
    targets = np.eye(40, 100, dtype=np.uint8)[:, :40].repeat(10, axis=0)  # forty classes of ten segments of one clip
    arrays = {"targets": targets, "scores": generator.random(targets.shape), "units": np.repeat(np.arange(40), 10)}
    score = METRICS["mAP"](arrays, None)
    low, high = interval(METRICS["mAP"], arrays, np.random.default_rng(0), resamples=200)
    drawn = [METRICS["mAP"](arrays, resample(arrays["units"], generator)) for _ in range(50)]
    assert min(drawn) > score  # all resamples lie above it
    assert low < score < high


def test_units_are_drawn_whole() -> None:
    units = np.repeat(np.arange(5), 4)
    weights = resample(units, np.random.default_rng(0)).reshape(5, 4)
    assert (weights == weights[:, :1]).all()
    assert weights[:, 0].sum() == 5
    right = np.repeat(np.arange(50) % 2 == 0, 20)  # 50 clips with 20 equal items: no more certain than 50 items
    alone = interval(METRICS["accuracy"], labels(right), np.random.default_rng(0))
    whole = interval(METRICS["accuracy"], labels(right, np.repeat(np.arange(50), 20)), np.random.default_rng(0))
    assert whole[1] - whole[0] > 3 * (alone[1] - alone[0])


def test_all_right_is_not_certain() -> None:
    low, high = interval(METRICS["accuracy"], labels(np.ones(12, bool)), np.random.default_rng(0))
    assert (low, high) == pytest.approx((0.025 ** (1 / 12), 1.0))


def test_paired_sees_a_difference_and_none() -> None:
    generator = np.random.default_rng(4)
    base = generator.random(300) < 0.5
    better = base | (generator.random(300) < 0.2)
    found = paired(METRICS["accuracy"], labels(base), labels(better), np.random.default_rng(0))
    assert found.difference == pytest.approx(better.mean() - base.mean())
    assert found.low > 0
    assert found.p <= 0.002
    same = paired(METRICS["accuracy"], labels(base), labels(base), np.random.default_rng(0))
    assert (same.difference, same.p) == (0, 1)


def test_mcnemar_by_hand() -> None:
    a = np.array([True] * 8 + [False] * 2 + [True] * 5)
    b = np.array([False] * 8 + [True] * 2 + [True] * 5)
    # 10 items differ, 2 for b: 2 * (C(10,0) + C(10,1) + C(10,2)) / 2^10
    assert mcnemar(a, b) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(a, a) == 1.0


def test_folds_and_spread() -> None:
    arrays = labels(np.array([1, 1, 0, 0, 1, 0])) | {"folds": np.array(["1", "1", "1", "2", "2", "2"])}
    assert per_fold(METRICS["accuracy"], arrays) == pytest.approx({"1": 2 / 3, "2": 1 / 3})
    assert per_fold(METRICS["accuracy"], labels(np.ones(3))) == {}
    assert mean_and_spread([0.5, 0.7]) == pytest.approx((0.6, np.sqrt(0.02)))
