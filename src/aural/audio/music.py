"""Estimate the tempo and the key of a sound.

Sources: tempo by librosa's beat tracker (Ellis 2007) and a line through the times of the beats; key by the correlation
of the mean chroma with the profiles of Krumhansl and Kessler (1982). Legend: T samples.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np

from aural.audio.resample import resample
from aural.core.errors import MissingDependencyError
from aural.core.types import Clip, FloatArray

RATE_HZ: Final = 22_050
HOP: Final = 512
LEAST_S: Final = 6.0
"""Shorter sounds have neither tempo nor key."""
MOST_S: Final = 60.0
LEAST_BEATS: Final = 6
LEAST_PULSE: Final = 0.4
"""Autocorrelation of the onsets at the period of the beats, from which on a sound has a tempo."""
LEAST_ONSET_DB: Final = 1.0
"""Mean rise of the level at the beats."""
LEAST_CORRELATION: Final = 0.6
"""Correlation of a chroma with a profile, from which on a sound has a key."""
PITCHES: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_PROFILES: Final = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


def tempo_and_key(clip: Clip) -> tuple[float, str]:
    """Return beats per minute and a key such as `A minor` of the first minute; NaN and "" where a sound has none.

    A tempo may be half or twice the one that a listener taps.
    """
    if clip.duration_s < LEAST_S:
        return float("nan"), ""
    librosa = _librosa()
    mono = clip.samples[:, : round(MOST_S * clip.sample_rate_hz)].mean(axis=0, keepdims=True)
    samples = resample(mono, clip.sample_rate_hz, RATE_HZ)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # librosa warns of silence
        return _tempo(librosa, samples), _key(librosa, samples)


def _tempo(librosa: Any, samples: FloatArray) -> float:
    onsets = librosa.onset.onset_strength(y=samples, sr=RATE_HZ, hop_length=HOP)
    _, beats = librosa.beat.beat_track(onset_envelope=onsets, sr=RATE_HZ, hop_length=HOP)
    if len(beats) < LEAST_BEATS or onsets[beats].mean() < LEAST_ONSET_DB:
        return float("nan")
    period = float(np.polyfit(np.arange(len(beats)), beats, 1)[0])
    correlation = librosa.autocorrelate(onsets - onsets.mean())
    near = correlation[round(period) - 1 : round(period) + 2]
    if not len(near) or near.max() < LEAST_PULSE * correlation[0]:
        return float("nan")
    return 60 * RATE_HZ / (HOP * period)


def _key(librosa: Any, samples: FloatArray) -> str:
    chroma = librosa.feature.chroma_cqt(y=samples, sr=RATE_HZ, hop_length=4 * HOP).mean(axis=1)
    if not chroma.std() > 0:
        return ""
    best, name = max(
        (float(np.corrcoef(np.roll(profile, root), chroma)[0, 1]), f"{PITCHES[root]} {mode}")
        for mode, profile in _PROFILES.items()
        for root in range(12)
    )
    return name if best >= LEAST_CORRELATION else ""


def _librosa() -> Any:
    try:
        import librosa
    except ImportError:
        raise MissingDependencyError('tempo and key need the package librosa; pip install "aural[metadata]"') from None
    return librosa
