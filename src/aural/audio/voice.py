"""Measure a voice: fundamental frequency, level and speaking rate of a sound, without knowing its words.

Legend: T samples, N frames, W samples per window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray

LOWEST_HZ: Final = 60.0
HIGHEST_HZ: Final = 500.0
THRESHOLD: Final = 0.15  # largest normalized difference of a voiced frame (YIN, section II.E, uses 0.1 to 0.15)
HOP_S: Final = 0.01
ACTIVE_DB: Final = 30.0  # frames so far below the loudest one count as pauses
DIP_DB: Final = 2.0  # a peak of the level is a syllable if the level falls by this much before the next one
SMOOTH_S: Final = 0.06


@dataclass(frozen=True)
class VoiceMeasures:
    """Measured properties of a sound, taken as one voice.

    The fundamental frequency is the median of the voiced frames, and 0 if there is none. The level is the RMS of the
    active frames; a mean square of 1 is 0 dBFS. Syllables are peaks of the level per second of active sound.
    """

    f0_hz: float
    level_dbfs: float
    syllables_per_s: float


def measure_voice(wave: FloatArray, sample_rate_hz: int) -> VoiceMeasures:
    """Measure a sound (T,).

    >>> time_s = np.arange(16000) / 16000
    >>> measure_voice((0.1 * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32), 16000).f0_hz.__round__(1)
    200.0
    """
    f0_hz = fundamental(wave, sample_rate_hz)
    voiced = f0_hz[f0_hz > 0]
    level_db = frame_levels(wave, sample_rate_hz)
    active = level_db > level_db.max(initial=-200.0) - ACTIVE_DB
    power = np.mean(10 ** (level_db[active] / 10)) if active.any() else 0.0
    active_s = max(int(active.sum()) * HOP_S, HOP_S)
    return VoiceMeasures(
        f0_hz=float(np.median(voiced)) if len(voiced) else 0.0,
        level_dbfs=float(10 * np.log10(power + 1e-20)),
        syllables_per_s=count_peaks(np.where(active, level_db, level_db.min(initial=-200.0))) / active_s,
    )


def fundamental(wave: FloatArray, sample_rate_hz: int) -> NDArray[np.float64]:
    """Return the fundamental frequency of each frame in Hz (N,); 0 where a frame is not voiced.

    YIN: the first lag at which the cumulative mean normalized difference has a minimum below `THRESHOLD`, with
    parabolic interpolation. Source: de Cheveigne and Kawahara 2002 (doi 10.1121/1.1458024), equations 6 and 8.
    """
    longest = int(np.ceil(sample_rate_hz / LOWEST_HZ)) + 1
    shortest = int(sample_rate_hz / HIGHEST_HZ)
    window = 2 * longest
    frames = _frames(wave, window + longest, round(HOP_S * sample_rate_hz))  # (N, W + longest)
    size = 1 << int(np.ceil(np.log2(frames.shape[1] + window)))
    spectrum = np.fft.rfft(frames, size)
    product = np.fft.irfft(spectrum * np.conj(np.fft.rfft(frames[:, :window], size)), size)[:, :longest]
    energy = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    power = energy[:, window : window + longest] - energy[:, :longest]  # of the window at each lag
    difference = np.maximum(power[:, :1] + power - 2 * product, 0)  # equation 6
    lags = np.arange(longest)
    mean = np.cumsum(difference, axis=1)[:, 1:] / lags[1:]
    normalized = np.concatenate([np.ones((len(frames), 1)), difference[:, 1:] / (mean + 1e-20)], axis=1)  # equation 8
    inner = normalized[:, shortest:-1]
    minimum = (inner <= normalized[:, shortest - 1 : -2]) & (inner < normalized[:, shortest + 1 :])
    dips = minimum & (inner < THRESHOLD)
    first = dips.argmax(axis=1) + shortest
    rows = np.arange(len(frames))
    left, middle, right = (normalized[rows, first + shift] for shift in (-1, 0, 1))
    curve = left - 2 * middle + right
    lag = first + np.where(curve > 0, (left - right) / (2 * np.where(curve > 0, curve, 1)), 0)
    heard = power[:, 0] > power[:, 0].max(initial=0) * 10 ** (-ACTIVE_DB / 10)
    f0_hz: NDArray[np.float64] = np.where(dips.any(axis=1) & heard, sample_rate_hz / lag, 0.0)
    return f0_hz


def frame_levels(wave: FloatArray, sample_rate_hz: int) -> NDArray[np.float64]:
    """Return the RMS level of frames of `SMOOTH_S`, every `HOP_S`, in dBFS (N,)."""
    frames = _frames(wave, round(SMOOTH_S * sample_rate_hz), round(HOP_S * sample_rate_hz))
    levels: NDArray[np.float64] = 10 * np.log10(np.mean(np.square(frames), axis=1) + 1e-20)
    return levels


def count_peaks(level_db: NDArray[np.float64]) -> int:
    """Count peaks that are separated by dips of at least `DIP_DB` on both sides.

    Source: de Jong and Wempe 2009 (doi 10.3758/BRM.41.2.385), without their test of voicing.

    >>> count_peaks(np.array([0.0, 5.0, 4.0, 5.5, 0.0, 6.0, 1.0]))
    2
    """
    peaks, low, high = 0, np.inf, -np.inf
    for level in level_db:
        if level > low + DIP_DB:
            high = max(high, level)
        low = min(low, level)
        if high - level > DIP_DB:
            peaks += 1
            low, high = level, -np.inf
    return peaks + int(high > -np.inf)


def _frames(wave: FloatArray, length: int, hop: int) -> NDArray[np.float64]:
    """Return overlapping frames (N, length) of a wave that is padded to at least one frame."""
    padded = np.pad(np.asarray(wave, np.float64), (0, max(0, length - len(wave))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
