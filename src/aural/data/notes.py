"""Play short melodies with a known key, mode, tempo, style and instrument, by adding harmonics.

A melody is a walk over a scale, in one of four styles of accompaniment. Instruments are tables of harmonics with an
attack and a decay; a test split has detuned instruments and other melodies.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aural.core.config import Config
from aural.core.errors import ConfigError, near_miss
from aural.core.seeds import generator
from aural.core.types import FloatArray

RATE_HZ: Final = 16_000
SECONDS: Final = 1.6
SCALES: Final = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
KEYS: Final = ("c", "c-sharp", "d", "e-flat", "e", "f", "f-sharp", "g", "a-flat", "a", "b-flat", "b")
INSTRUMENTS: Final = {
    "organ": ((1.0, 0.8, 0.5, 0.4, 0.0, 0.3), 0.02, 9.0),
    "clarinet": ((1.0, 0.0, 0.7, 0.0, 0.4, 0.0, 0.2), 0.04, 4.0),
    "harp": ((1.0, 0.5, 0.3, 0.15, 0.08), 0.003, 0.3),
    "reed": ((0.6, 0.7, 0.9, 1.0, 0.8, 0.6, 0.4), 0.03, 3.0),
}
"""Instrument -> amplitudes of its harmonics, attack and decay in seconds."""
STYLES: Final = ("melody", "thirds", "drone", "chords")
SPLITS: Final = ("test", "train")
LOWEST_HZ: Final = 523.25
Timbre: TypeAlias = tuple[NDArray[np.float64], float, float]
"""Amplitudes of harmonics, attack and decay in seconds."""


class NotesConfig(Config):
    """Options of the world "notes"."""

    split: str = "train"
    """Split: "train" or "test". They share no melody; instruments of the test split have other harmonics."""
    seed: int = 0
    size: Annotated[int, Field(ge=1)] = 1000
    """Items per epoch; the same items come again in every epoch."""


def played(config: NotesConfig, index: int) -> tuple[FloatArray, dict[str, Any]]:
    """Return the wave (T,) of item `index` and its truth record, a pure function of the options and the index."""
    if config.split not in SPLITS:
        raise ConfigError(f'world "notes": no split "{config.split}"; {near_miss(config.split, SPLITS)}')
    rng = generator(config.seed, index, SPLITS.index(config.split), 10)
    key, mode = int(rng.integers(12)), sorted(SCALES)[int(rng.integers(2))]
    style, instrument = STYLES[int(rng.integers(4))], sorted(INSTRUMENTS)[int(rng.integers(4))]
    note_s = float(rng.uniform(0.12, 0.35))
    harmonics, attack_s, decay_s = INSTRUMENTS[instrument]
    amplitudes = np.array(harmonics) * np.exp((0.3 if config.split == "test" else 0.1) * rng.standard_normal())
    wave = np.zeros(round(SECONDS * RATE_HZ))
    phones: list[tuple[str, float, float]] = []
    degree = int(rng.integers(7))
    for number in range(int(SECONDS / note_s)):
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 13)) if number else degree
        onset_s = number * note_s
        for extra in _degrees(style, degree):
            octave, place = divmod(degree + extra if extra is not None else 0, 7)
            pitch = key + 12 * octave + SCALES[mode][place]
            _add(wave, onset_s, note_s, LOWEST_HZ * 2 ** (pitch / 12), (amplitudes, attack_s, decay_s))
        name = KEYS[(key + SCALES[mode][degree % 7]) % 12]
        phones.append((name, round(onset_s, 4), round(onset_s + note_s, 4)))
    wave *= 0.1 * float(rng.uniform(0.5, 1.5)) / (np.sqrt(np.mean(wave**2)) + 1e-9)
    wave += 10 ** (-float(rng.uniform(40, 60)) / 20) * rng.standard_normal(len(wave))
    fast = note_s < 0.2
    facts = {
        "synthetic": "added harmonics",
        "key": KEYS[key],
        "mode": mode,
        "style": style,
        "instrument": instrument,
        "emotion": f"{'fast' if fast else 'slow'} {mode}",
        "language": mode,
        "speaker": instrument,
        "transcript": "".join(name[0] for name, _, _ in phones),
        "phones": [list(phone) for phone in phones],
    }
    return np.clip(wave, -1, 1).astype(np.float32), facts


def _degrees(style: str, degree: int) -> tuple[int | None, ...]:
    """Return the notes that sound with a degree of the melody; None is the tonic below."""
    if style == "thirds":
        return (0, 2)
    if style == "drone":
        return (0, None)
    return (0, 2, 4) if style == "chords" else (0,)


def _add(wave: NDArray[np.float64], onset_s: float, note_s: float, frequency_hz: float, sound: Timbre) -> None:
    amplitudes, attack_s, decay_s = sound
    first, length = round(onset_s * RATE_HZ), round(note_s * RATE_HZ)
    time_s = np.arange(min(length, len(wave) - first)) / RATE_HZ
    envelope = np.minimum(time_s / attack_s, 1) * np.exp(-time_s / decay_s) * np.minimum((note_s - time_s) / 0.01, 1)
    for number, amplitude in enumerate(amplitudes, 1):
        if number * frequency_hz < RATE_HZ / 2:
            wave[first : first + len(time_s)] += (
                amplitude * envelope * np.sin(2 * np.pi * number * frequency_hz * time_s)
            )
