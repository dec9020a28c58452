"""Tempo of clicks and key of chords that are computed here; sounds that have neither."""

from __future__ import annotations

import numpy as np
import pytest

from aural.audio.music import LEAST_S, tempo_and_key
from aural.core.types import Clip

pytest.importorskip("librosa")
RATE_HZ = 22_050


def clicks(bpm: float, seconds: float = 12.0) -> Clip:
    """A decaying 1 kHz tone per beat."""
    wave = np.zeros(round(seconds * RATE_HZ), np.float32)
    t = np.arange(RATE_HZ // 10) / RATE_HZ
    click = (0.5 * np.sin(2 * np.pi * 1000 * t) * np.exp(-40 * t)).astype(np.float32)
    for start in np.arange(0, seconds - 0.2, 60 / bpm):
        at = round(start * RATE_HZ)
        wave[at : at + len(click)] += click
    return Clip(wave[None], RATE_HZ)


def chords(*roots_and_thirds: tuple[int, int]) -> Clip:
    """Triads of 2 s with three harmonics. Each is its root in half tones above C4, and its third above the root."""
    t = np.arange(2 * RATE_HZ) / RATE_HZ
    parts = []
    for root, third in roots_and_thirds:
        pitches = [261.626 * 2 ** ((root + step) / 12) for step in (0, third, 7)]
        tones = [np.sin(2 * np.pi * k * hz * t) / k for hz in pitches for k in (1, 2, 3)]
        parts.append(0.1 * np.sum(tones, axis=0) * np.minimum(1, 40 * (2 - t)))
    return Clip(np.concatenate(parts).astype(np.float32)[None], RATE_HZ)


@pytest.mark.parametrize("bpm", [72, 90, 120, 137, 150])
def test_tempo_of_clicks(bpm: float) -> None:
    found, key = tempo_and_key(clicks(bpm))
    assert found == pytest.approx(bpm, rel=0.01)
    assert key == ""


def test_a_fast_tempo_may_be_halved() -> None:
    assert tempo_and_key(clicks(168))[0] == pytest.approx(84, rel=0.01)


MAJOR, MINOR = 4, 3


@pytest.mark.parametrize(
    ("progression", "want"),
    [
        ([(0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR)], "C major"),
        ([(6, MAJOR), (11, MAJOR), (1, MAJOR), (6, MAJOR)], "F# major"),
        ([(9, MINOR), (2, MINOR), (4, MAJOR), (9, MINOR)], "A minor"),
        ([(3, MINOR), (8, MINOR), (10, MAJOR), (3, MINOR)], "D# minor"),
    ],
)
def test_key_of_chords(progression: list[tuple[int, int]], want: str) -> None:
    assert tempo_and_key(chords(*progression))[1] == want


def test_sounds_without_tempo_and_key() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 8 * RATE_HZ)).astype(np.float32)
    for clip in (Clip(noise, RATE_HZ), Clip(np.zeros((1, 8 * RATE_HZ), np.float32), RATE_HZ)):
        bpm, key = tempo_and_key(clip)
        assert np.isnan(bpm)
        assert key == ""
    bpm, key = tempo_and_key(clicks(120, LEAST_S - 0.5))
    assert np.isnan(bpm)
    assert key == ""
