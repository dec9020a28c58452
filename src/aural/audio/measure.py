"""Measure a sound: loudness, peak, brightness, tempo, key, and whether it can be played as a loop.

Legend: C channels, T samples. Source: ITU-R BS.1770-4 for loudness (package pyloudnorm).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np

from aural.audio.music import tempo_and_key
from aural.core.errors import MissingDependencyError
from aural.core.types import Clip, FloatArray

LOUDNESS_BLOCK_S: Final = 0.4
MOST_CHANNELS: Final = 5
"""Channels for which BS.1770 has weights, without the one for low-frequency effects."""
EDGE_S: Final = 0.05
LOOP_DB: Final = 6.0
FLOOR_DB: Final = -40.0
FRAME: Final = 4096


@dataclass(frozen=True, slots=True)
class Measures:
    """Measured values; NaN where a value cannot be measured.

    lufs: integrated loudness (sounds of at least 0.4 s). peak_db: largest sample in dB of full scale. brightness_hz:
    center of the power spectrum. seamless: first and last 50 ms differ by at most 6 dB and are within 40 dB of the
    loudest 50 ms. bpm, key: see `aural.audio.music`; an empty key is unknown.
    """

    lufs: float
    peak_db: float
    brightness_hz: float
    seamless: bool
    bpm: float = np.nan
    key: str = ""


def measure(clip: Clip) -> Measures:
    """Measure a clip (C, T)."""
    peak = float(np.abs(clip.samples).max())
    if peak == 0:
        return Measures(np.nan, -np.inf, np.nan, False)
    level_db = 20 * np.log10(peak)
    return Measures(_loudness(clip), level_db, _brightness(clip), _is_seamless(clip), *tempo_and_key(clip))


def _loudness(clip: Clip) -> float:
    if clip.duration_s < LOUDNESS_BLOCK_S or clip.channels > MOST_CHANNELS:
        return float("nan")
    try:
        import pyloudnorm
    except ImportError:
        raise MissingDependencyError('loudness needs the package pyloudnorm; pip install "aural[metadata]"') from None
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")
        value = float(pyloudnorm.Meter(clip.sample_rate_hz).integrated_loudness(clip.samples.T.astype(np.float64)))
    return value if np.isfinite(value) else float("nan")


def _brightness(clip: Clip) -> float:
    mono = clip.samples.mean(axis=0)
    mono = np.pad(mono, (0, -len(mono) % FRAME))
    power = np.zeros(FRAME // 2 + 1)
    window = np.hanning(FRAME)
    for frame in mono.reshape(-1, FRAME):
        power += np.abs(np.fft.rfft(frame * window)) ** 2
    frequencies = np.fft.rfftfreq(FRAME, 1 / clip.sample_rate_hz)
    total = float(power.sum())
    return float(power @ frequencies / total) if total > 0 else float("nan")


def _is_seamless(clip: Clip) -> bool:
    size = max(1, round(EDGE_S * clip.sample_rate_hz))
    if clip.frames < 4 * size:
        return False
    edges = _level_db(clip.samples[:, :size]), _level_db(clip.samples[:, -size:])
    whole_blocks = clip.samples[:, : clip.frames // size * size].reshape(clip.channels, -1, size)
    loudest = 10 * np.log10((whole_blocks**2).mean(axis=(0, 2)).max() + 1e-20)
    return abs(edges[0] - edges[1]) <= LOOP_DB and min(edges) >= loudest + FLOOR_DB


def _level_db(samples: FloatArray) -> float:
    return float(10 * np.log10(np.mean(samples**2, dtype=np.float64) + 1e-20))
