"""Emotion as prosody: valence and arousal to pitch, range, rate, level and brightness of a voice.

The rules for pitch, range, rate and level are those of Schroeder's dimensional emotional speech synthesis, as
implemented in MaryTTS (`emotion-to-mary.xsl`, templates "acousticParameters"), with activation as arousal A, evaluation
as valence V, both from -1 to 1, and power 0:

    pitch       1 + 0.3 A + 0.1 V      factor of the frequency
    range       4 + 4 A                semitones; espeak-ng's range is 50 at 4 semitones
    rate        1 + 0.5 A + 0.2 V      factor of the words per minute
    volume      (50 + 33 A) / 50       factor of the amplitude

They hardly carry valence, so one rule of this project is added: positive valence is brighter, negative valence is
darker, by `BRIGHTNESS_DB` per octave around 1 kHz. Listeners hear smiling as raised formants (Tartter 1980,
doi 10.3758/BF03199901). The mapping is a planted rule, not a measurement of human emotion.

Source: Schroeder, Speech and Emotion Research (doctoral thesis, Saarbruecken 2004), chapter 12; MaryTTS 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from aural.core.types import FloatArray

BRIGHTNESS_DB: Final = 3.0
"""Decibels per octave at valence 1."""
CENTER_HZ: Final = 1000.0
OCTAVES: Final = 2.0
"""The tilt is constant above and below so many octaves around the center."""
PITCH_OCTAVE: Final = 62.0
"""Steps of espeak-ng's pitch setting per octave, measured: version 1.51, monotone, two voices, settings 20 to 90."""
LEVEL_DBFS: Final = -28.0
"""RMS level of a neutral voice."""
NEUTRAL: Final = 0.35
"""Distance from the origin of the valence-arousal plane within which an emotion is called neutral."""
EMOTIONS: Final = ("angry", "calm", "happy", "neutral", "sad")


@dataclass(frozen=True)
class Prosody:
    """Settings of a voice, relative to the voice itself."""

    pitch: float
    """Factor of the frequency."""
    range_semitones: float
    rate: float
    """Factor of the words per minute."""
    level_dbfs: float
    """RMS level of the sound."""
    brightness_db: float
    """Decibels per octave."""

    @property
    def pitch_setting(self) -> int:
        """The pitch as espeak-ng's setting, 0 to 99; see `espeak.Utterance`."""
        return round(min(max(50 + PITCH_OCTAVE * math.log2(self.pitch), 0), 99))

    @property
    def range_setting(self) -> int:
        """The range as espeak-ng's setting, 0 to 99."""
        return round(min(max(50 * self.range_semitones / 4, 0), 99))

    @property
    def rate_wpm(self) -> int:
        """The rate in words per minute, within espeak-ng's limits."""
        return round(min(max(175 * self.rate, 80), 400))


def prosody_of(valence: float, arousal: float) -> Prosody:
    """Return the prosody of a point of the valence-arousal plane, both from -1 to 1.

    >>> prosody_of(0.0, 0.0)
    Prosody(pitch=1.0, range_semitones=4.0, rate=1.0, level_dbfs=-28.0, brightness_db=0.0)
    >>> excited = prosody_of(1.0, 1.0)
    >>> round(excited.pitch, 2), excited.range_semitones, round(excited.rate, 2), round(excited.level_dbfs, 1)
    (1.4, 8.0, 1.7, -23.6)
    """
    return Prosody(
        pitch=1 + 0.3 * arousal + 0.1 * valence,
        range_semitones=4 + 4 * arousal,
        rate=1 + 0.5 * arousal + 0.2 * valence,
        level_dbfs=LEVEL_DBFS + 20 * math.log10((50 + 33 * arousal) / 50),
        brightness_db=BRIGHTNESS_DB * valence,
    )


def emotion_of(valence: float, arousal: float) -> str:
    """Return the name of a point of the plane: its quadrant, or neutral near the origin.

    >>> emotion_of(-0.8, 0.6), emotion_of(0.7, -0.5), emotion_of(0.1, -0.2)
    ('angry', 'calm', 'neutral')
    """
    if math.hypot(valence, arousal) < NEUTRAL:
        return "neutral"
    if arousal >= 0:
        return "happy" if valence >= 0 else "angry"
    return "calm" if valence >= 0 else "sad"


def tilt(wave: FloatArray, sample_rate_hz: int, db_per_octave: float) -> FloatArray:
    """Return the wave (T,) with a gain that changes by so many decibels per octave around 1 kHz."""
    frequency = np.fft.rfftfreq(len(wave), 1 / sample_rate_hz)
    octaves = np.clip(np.log2(np.maximum(frequency, 1.0) / CENTER_HZ), -OCTAVES, OCTAVES)
    tilted: FloatArray = np.fft.irfft(np.fft.rfft(wave) * 10 ** (db_per_octave * octaves / 20), len(wave)).astype(
        np.float32
    )
    return tilted


def at_level(wave: FloatArray, level_dbfs: float) -> FloatArray:
    """Return the wave with that RMS level; 0 dBFS is a mean square of 1. Peaks above 1 are clipped."""
    rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) + 1e-12
    scaled: FloatArray = np.clip(wave * (10 ** (level_dbfs / 20) / rms), -1, 1).astype(np.float32)
    return scaled
