from __future__ import annotations

import numpy as np
import pytest

from aural.audio.gcc import channel_pairs, gcc_phat, swap_channels


@pytest.mark.parametrize("delay", [-6, 0, 3])
def test_the_peak_is_the_delay_for_any_spectrum(delay: int) -> None:
    rng = np.random.default_rng(0)
    source = np.cumsum(rng.standard_normal(4200))  # red noise: plain cross-correlation has a broad peak
    channels = np.stack([source[50 - delay : 4146 - delay], source[50:4146]]).astype(np.float32)
    gcc = gcc_phat(channels, lags=10, block=2048)
    assert gcc.shape == (2, 1, 21)
    assert (gcc[:, 0].argmax(1) - 10).tolist() == [delay, delay]


def test_swapping_channels_is_the_correlation_of_swapped_channels() -> None:
    samples = np.random.default_rng(0).standard_normal((4, 512)).astype(np.float32)
    order = (2, 0, 3, 1)
    direct = gcc_phat(samples[list(order)], lags=5, block=256)
    moved = swap_channels(gcc_phat(samples, lags=5, block=256), order)
    np.testing.assert_allclose(moved, direct, atol=1e-6)
    assert len(channel_pairs(4)) == 6


def test_silence_is_finite() -> None:
    assert np.isfinite(gcc_phat(np.zeros((2, 600), np.float32), lags=4, block=256)).all()
