"""DATE and the calibration error: values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aural.evaluate.metrics.calibration import calibration_error
from aural.evaluate.metrics.date import date, discrimination, token_weights


def test_date_by_hand() -> None:
    """Caption 0 fits its reference best; caption 1 fits two references alike; caption 2 fits another one better."""
    similarity = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.6], [0.7, 0.1, 0.4]])
    assert discrimination(similarity, 0.02) == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    wanted = [2 * s * d / (s + d) for s, d in ((0.8, 2 / 3), (0.6, 1 / 3), (0.4, 1 / 3))]
    assert date(similarity, 0.02) == pytest.approx(wanted)


def test_similarities_within_the_tolerance_count_as_equal() -> None:
    similarity = np.array([[0.80, 0.79], [0.0, 1.0]])
    assert discrimination(similarity, 0.02).tolist() == [0.0, 0.5]
    assert discrimination(similarity, 0.005).tolist() == [0.5, 0.5]


def test_a_caption_that_is_opposed_to_its_reference_scores_0() -> None:
    assert date(np.array([[-0.5, -0.9], [0.0, 0.5]])).tolist()[0] == 0


def test_token_weights_by_hand() -> None:
    """Token 7 is in one of two texts, token 5 in both; padding and a text of common tokens have the weight 1."""
    ids = np.array([[0, 5, 7, 1], [0, 5, 1, 9]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    assert token_weights(ids, mask).tolist() == [[2.0, 0.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0]]


def test_calibration_error_by_hand() -> None:
    right = np.repeat([0.25, 0.75], 4), np.array([1, 0, 0, 0, 1, 1, 1, 0])
    assert calibration_error(*right) == pytest.approx(0)
    assert calibration_error(np.ones(4), np.array([1, 1, 0, 0])) == pytest.approx(0.5)
    assert calibration_error(np.array([0.2, 0.8]), np.array([0, 1]), bins=1) == pytest.approx(0)
