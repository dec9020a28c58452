"""Runs of like segments say which sound is heard in which, and where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.cli.occurrences import list_occurrences
from aural.core.errors import CheckpointError
from aural.core.vectors import unit_rows
from aural.models.segment_prints import bundled
from aural.search.occurrences import ALIKE, SURE, Prints, longest_run, occurrences
from library_toys import RATE_HZ, add_all


def rows(seed: int, count: int) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32))


def starts(count: int) -> np.ndarray:
    return (0.5 * np.arange(count)).astype(np.float32)


def test_a_part_of_one_sound_is_placed_in_another() -> None:
    long = rows(0, 40)
    noisy = unit_rows(long[12:18] + 0.05 * rows(1, 6))
    sounds = [Prints(long, starts(40)), Prints(rows(2, 9), starts(9)), Prints(noisy, starts(6))]
    (hit,) = occurrences(sounds, segment_s=1.0, hop_s=0.5)
    assert (hit.sound, hit.inside, hit.segments) == (2, 0, 6)
    assert (hit.at_s, hit.inside_at_s, hit.duration_s) == (0.0, 6.0, 3.5)
    assert hit.cosine == pytest.approx(float(np.sum(long[12:18] * noisy, axis=1).mean()), abs=1e-6)


def test_silent_segments_keep_their_places() -> None:
    long = rows(0, 10)
    part = Prints(long[[4, 6, 7]], np.array([0.0, 1.0, 1.5], np.float32))
    (hit,) = occurrences([part, Prints(long, starts(10))], segment_s=1.0, hop_s=0.5)
    assert (hit.inside_at_s, hit.duration_s, hit.segments) == (2.0, 2.5, 3)


def test_a_run_needs_less_per_segment_the_longer_it_is() -> None:
    at = np.arange(4)
    for count in (1, 2, 4):
        limit = SURE - (SURE - ALIKE) * (1 - 1 / count)
        below, above = (np.full(count, limit + step) for step in (-0.001, 0.001))
        assert longest_run(at[:count], at[:count] + 3, below) is None
        run = longest_run(at[:count], at[:count] + 3, above)
        assert run is not None
        assert (run.left, run.right, run.ticks, run.segments) == (0, 3, count - 1, count)


def test_pairs_in_other_orders_are_no_run() -> None:
    shuffled = np.array([9, 2, 7, 0])
    assert longest_run(np.arange(4), shuffled, np.full(4, 0.8)) is None  # four runs of one segment
    drifting = longest_run(np.arange(4), np.array([5, 6, 8, 9]), np.full(4, 0.8))  # a little slower
    assert drifting is not None
    assert drifting.segments == 4


def test_no_sounds_and_empty_sounds_have_no_occurrences() -> None:
    empty = Prints(np.empty((0, 64), np.float32), np.empty(0, np.float32))
    assert occurrences([], segment_s=1.0, hop_s=0.5) == []
    assert occurrences([empty, empty, Prints(rows(0, 3), starts(3))], segment_s=1.0, hop_s=0.5) == []


def melody(seconds: float, seed: int) -> np.ndarray:
    """Return tones of random pitch and length, each with harmonics and a decay."""
    draw = np.random.default_rng(seed)
    wave = np.zeros(round(seconds * RATE_HZ), np.float32)
    at = 0
    while at < len(wave):
        length = int(draw.integers(800, 3200))
        t = np.arange(min(length, len(wave) - at)) / RATE_HZ
        pitch_hz = 330 * 2 ** draw.uniform(0, 2)
        tone = sum(np.sin(2 * np.pi * pitch_hz * n * t) / n for n in (1, 2, 3))
        wave[at : at + len(t)] = tone * np.exp(-t * draw.uniform(3, 12)) * draw.uniform(0.3, 1.0)
        at += length
    return wave / np.abs(wave).max() * 0.5


def test_the_command_finds_a_noisy_excerpt_in_a_long_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    long = melody(40.0, 0)
    excerpt = long[round(17.2 * RATE_HZ) : round(20.2 * RATE_HZ)]
    noise = np.random.default_rng(5).standard_normal(len(excerpt)) * np.sqrt(np.mean(excerpt**2)) * 10 ** (-5 / 20)
    soundfile.write(sounds / "long.wav", long, RATE_HZ)
    soundfile.write(sounds / "excerpt.mp3", excerpt + noise, RATE_HZ)
    soundfile.write(sounds / "other.wav", melody(20.0, 1), RATE_HZ)
    add_all(tmp_path)
    assert list_occurrences(tmp_path / "library", as_json=True) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (values,) = [one for one in listed if Path(one["sound"]).name == "excerpt.mp3"]
    assert Path(values["inside"]).name == "long.wav"
    assert values["inside_at_s"] - values["at_s"] == pytest.approx(17.2, abs=0.5)
    assert values["duration_s"] >= 2.0
    assert list_occurrences(tmp_path / "library", as_json=False) == 0
    assert "long.wav at 0:17" in capsys.readouterr().out


def test_missing_weights_name_the_file_and_the_tool(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing; write it with tools"):
        bundled(tmp_path / "model.safetensors")
