"""Zero-shot scores against values computed by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from aural.core.errors import ConfigError
from aural.core.scoring import DEFAULT_SCALE, Calibration, label_prompts


def test_softmax_by_hand() -> None:
    """exp(2 * 0.5) and exp(2 * 0): e / (e + 1)."""
    scores = Calibration(scale=2.0).scores(np.array([[0.5, 0.0]], np.float32))
    np.testing.assert_allclose(scores, [[math.e / (math.e + 1), 1 / (math.e + 1)]], rtol=1e-6)
    assert scores.dtype == np.float32


def test_sigmoid_with_a_bias_by_hand() -> None:
    scores = Calibration(scale=10.0, bias=-3.0).scores(np.array([0.5, 0.3]), multi_label=True)
    np.testing.assert_allclose(scores, [1 / (1 + math.exp(-2)), 0.5], rtol=1e-6)


def test_neutral_prompt_by_hand() -> None:
    """Without a bias a label with the neutral cosine scores one half."""
    cosines, neutral = np.array([[0.5, 0.25], [0.0, 0.1]]), np.array([0.25, 0.1])
    scores = Calibration(scale=4.0).scores(cosines, multi_label=True, neutral=neutral)
    want = [[1 / (1 + math.exp(-1)), 0.5], [1 / (1 + math.exp(0.4)), 0.5]]
    np.testing.assert_allclose(scores, want, rtol=1e-6)


@pytest.mark.parametrize("calibration", [Calibration(30.0), Calibration(30.0, -2.0)])
def test_the_threshold_is_where_the_score_is_one_half(calibration: Calibration) -> None:
    draws = np.random.default_rng(0)
    cosines, neutral = draws.uniform(-0.3, 0.3, (50, 4)), draws.uniform(-0.1, 0.1, 50)
    scores = calibration.scores(cosines, multi_label=True, neutral=neutral)
    np.testing.assert_array_equal(scores > 0.5, cosines > calibration.threshold(neutral)[:, None])
    np.testing.assert_array_equal(scores > 0.5, calibration.label_logits(cosines, neutral) > 0)


def test_extreme_logits_do_not_overflow() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        single = Calibration(1e6).scores(np.array([1.0, -1.0]))
        multi = Calibration(1e6, 0.0).scores(np.array([1.0, -1.0]), multi_label=True)
    assert single.tolist() == multi.tolist() == [1.0, 0.0]


def test_calibration_is_read_from_the_embedder() -> None:
    assert Calibration.of(object()) == Calibration(DEFAULT_SCALE, None)
    assert Calibration.of(SimpleNamespace(logit_scale=12, logit_bias=-3)) == Calibration(12.0, -3.0)
    assert Calibration(1.0).needs_neutral
    assert not Calibration(1.0, 0.0).needs_neutral


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="no place for the label"):
        label_prompts(["rain"], "the sound")
    with pytest.raises(ValueError, match="neutral prompt"):
        Calibration().scores(np.zeros(2), multi_label=True)


def test_a_match_reaches_the_least_cosine() -> None:
    calibration = Calibration.of(SimpleNamespace(least_cosine=0.25))
    assert calibration.matches(np.array([0.1, 0.25]))
    assert not calibration.matches(np.array([0.1, 0.2499]))
    assert not calibration.matches(np.array([]))
    with pytest.raises(ConfigError, match="no measured least cosine"):
        Calibration().matches(np.array([0.9]))
