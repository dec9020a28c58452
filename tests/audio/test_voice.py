"""Measured pitch, level and rate: closed forms, and librosa's pyin as another judge."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from aural.audio.voice import count_peaks, fundamental, measure_voice

RATE_HZ = 16_000


def hum(f0_hz: float, seconds: float = 1.0, noise: float = 0.0) -> np.ndarray:
    """Return a sum of eight harmonics with falling strength."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * f0_hz * k * time_s + k) / k for k in range(1, 9))
    return (0.1 * wave + noise * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


@pytest.mark.parametrize("f0_hz", [70.0, 110.0, 163.5, 220.0, 311.1, 450.0])
def test_the_fundamental_of_a_hum_is_exact_to_a_tenth_of_a_percent(f0_hz: float) -> None:
    assert measure_voice(hum(f0_hz), RATE_HZ).f0_hz == pytest.approx(f0_hz, rel=1e-3)


def test_a_glide_agrees_with_pyin_frame_by_frame() -> None:
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    f0_hz = 120 * 2 ** (time_s / 2)
    wave = sum(np.sin(k * 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ) / k for k in range(1, 6)).astype(np.float32) * 0.1
    ours = fundamental(wave, RATE_HZ)
    theirs, voiced, _ = librosa.pyin(wave, fmin=60, fmax=500, sr=RATE_HZ, frame_length=1024, hop_length=160)
    # YIN's frame n covers 2 / 60 s from n / 100 s on, on average at the middle of window and lag
    shift = round((2 * 267 / 2 + 60) / 160)
    count = len(ours) - 20
    semitones = 12 * np.log2(ours[10:count] / theirs[10 + shift : count + shift])
    assert voiced[10:count].all()
    assert np.abs(semitones).max() < 0.5


def test_noise_and_silence_have_no_pitch() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    assert (fundamental(noise, RATE_HZ) > 0).mean() < 0.02
    silent = measure_voice(np.zeros(RATE_HZ, np.float32), RATE_HZ)
    assert silent.f0_hz == 0
    assert silent.level_dbfs <= -190


def test_level_is_that_of_a_sine_and_ignores_pauses() -> None:
    """The RMS level of a sine of amplitude a is 20 log10(a / sqrt 2)."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    sine = (0.2 * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32)
    wanted = 20 * np.log10(0.2 / np.sqrt(2))
    assert measure_voice(sine, RATE_HZ).level_dbfs == pytest.approx(wanted, abs=0.05)
    paused = np.concatenate([sine, np.zeros(2 * RATE_HZ, np.float32), sine])
    assert measure_voice(paused, RATE_HZ).level_dbfs == pytest.approx(wanted, abs=0.2)


@pytest.mark.parametrize("pulses", [3, 5, 8])
def test_rate_counts_pulses_per_second(pulses: int) -> None:
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    envelope = 0.5 - 0.45 * np.cos(2 * np.pi * pulses * time_s)
    assert measure_voice(hum(150, 2.0) * envelope, RATE_HZ).syllables_per_s == pytest.approx(pulses, rel=0.15)


def test_small_dips_are_no_syllables() -> None:
    assert count_peaks(np.array([0.0, 10, 9, 10, 9, 10, 0])) == 1
    assert count_peaks(np.array([0.0, 10, 5, 10, 0])) == 2
    assert count_peaks(np.zeros(5)) == 0


def test_a_clip_shorter_than_a_window_is_measured() -> None:
    assert measure_voice(np.zeros(10, np.float32), RATE_HZ).f0_hz == 0
