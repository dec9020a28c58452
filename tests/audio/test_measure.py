"""Measures with closed-form values: sines, silence, edges."""

from __future__ import annotations

import numpy as np
import pytest

from aural.audio.measure import measure
from aural.core.types import Clip

pytest.importorskip("pyloudnorm")
RATE_HZ = 48_000


def sine(hz: float, level_db: float, seconds: float = 2.0, channels: int = 1) -> Clip:
    wave = 10 ** (level_db / 20) * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)
    return Clip(np.tile(wave.astype(np.float32), (channels, 1)), RATE_HZ)


@pytest.mark.parametrize("level_db", [0.0, -20.0])
def test_a_sine(level_db: float) -> None:
    """BS.1770: 997 Hz at 0 dB of full scale in one channel is -3.01 LUFS; two channels are 3.01 louder."""
    measures = measure(sine(997, level_db))
    assert measures.lufs == pytest.approx(-3.01 + level_db, abs=0.05)
    assert measure(sine(997, level_db, channels=2)).lufs == pytest.approx(level_db, abs=0.05)
    assert measures.peak_db == pytest.approx(level_db, abs=0.01)
    assert measures.brightness_hz == pytest.approx(997, abs=2)
    assert measures.seamless


def test_what_is_no_loop() -> None:
    fade = sine(500, -6)
    decaying = Clip(fade.samples * np.exp(-np.linspace(0, 8, fade.frames, dtype=np.float32)), RATE_HZ)
    assert not measure(decaying).seamless
    padded = np.pad(fade.samples, ((0, 0), (RATE_HZ, RATE_HZ)))
    assert not measure(Clip(padded, RATE_HZ)).seamless


def test_silent_and_short_sounds() -> None:
    silent = measure(Clip(np.zeros((1, 1000), np.float32), RATE_HZ))
    assert (np.isnan(silent.lufs), silent.peak_db, np.isnan(silent.brightness_hz)) == (True, -np.inf, True)
    short = measure(sine(1000, -6, 0.1))
    assert np.isnan(short.lufs)
    assert short.brightness_hz == pytest.approx(1000, abs=30)
