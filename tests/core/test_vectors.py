"""Unit rows: lengths, float32, zero rows, and agreement with torch."""

from __future__ import annotations

import numpy as np
import torch

from aural.core.vectors import unit_rows, unit_vector
from aural.nn.functional import unit


def test_rows_have_length_one() -> None:
    rows = unit_rows(np.random.default_rng(0).standard_normal((2, 5, 7)))
    assert (rows.dtype, rows.shape) == (np.float32, (2, 5, 7))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-6)


def test_zero_stays_zero() -> None:
    assert not unit_rows(np.zeros((2, 3))).any()
    assert not unit_vector(np.zeros(3)).any()


def test_the_torch_twin_agrees() -> None:
    x = np.random.default_rng(1).standard_normal((4, 9)).astype(np.float32)
    x[2] = 0
    np.testing.assert_allclose(unit(torch.from_numpy(x)).numpy(), unit_rows(x), atol=1e-7)
    np.testing.assert_allclose(unit_vector(x[0]), unit_rows(x)[0], atol=1e-7)
