"""Length policies: closed form by hand, and the promise that no second of a long sound is left out or counted twice."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aural.audio.length import fit_shorter, mono_at, windows
from aural.core.errors import AudioError
from aural.core.types import Clip
from tiny import tone, write_wav

RAMP = np.arange(1.0, 4.0, dtype=np.float32)


@pytest.mark.parametrize(
    ("how", "length", "want"),
    [
        ("repeat", 8, [1, 2, 3, 1, 2, 3, 1, 2]),
        ("repeat-pad", 8, [1, 2, 3, 1, 2, 3, 0, 0]),
        ("pad", 8, [1, 2, 3, 0, 0, 0, 0, 0]),
        ("repeat", 3, [1, 2, 3]),
        ("repeat-pad", 5, [1, 2, 3, 0, 0]),
        ("repeat-pad", 6, [1, 2, 3, 1, 2, 3]),
    ],
)
def test_shorter_by_hand(how: str, length: int, want: list[int]) -> None:
    np.testing.assert_array_equal(fit_shorter(RAMP, length, how), want)  # type: ignore[arg-type]


@given(st.integers(1, 300), st.integers(0, 1000), st.sampled_from(["repeat", "repeat-pad", "pad"]))
def test_shorter_always_fits_and_begins_with_the_sound(have: int, more: int, how: str) -> None:
    samples = np.arange(1, have + 1, dtype=np.float32)
    found = fit_shorter(samples, have + more, how)  # type: ignore[arg-type]
    assert found.shape == (have + more,)
    np.testing.assert_array_equal(found[:have], samples)
    assert set(np.unique(found)) <= {0.0, *samples.tolist()}


@given(st.integers(20, 4000), st.integers(50, 900))
@example(900, 300)
@example(901, 300)
@settings(max_examples=60, deadline=None)
def test_windows_tile_the_whole_sound(frames: int, length: int) -> None:
    rate_hz = 1000
    samples = np.arange(1, frames + 1, dtype=np.float32) / 4096
    found = list(windows((samples, rate_hz), rate_hz, length / rate_hz))
    assert len(found) == -(-frames // length)
    assert all(window.samples.shape == (length,) for window in found)
    assert sum(window.fresh_s for window in found) == pytest.approx(frames / rate_hz)
    heard = np.unique(np.concatenate([window.samples for window in found]))
    np.testing.assert_array_equal(heard, samples)  # every sample is covered, and none is invented
    for window in found[:1] if frames < length else found:
        first = round(window.start_s * rate_hz)
        last = round(window.end_s * rate_hz)
        np.testing.assert_array_equal(window.samples[: last - first], samples[first:last])
    assert found[-1].end_s == pytest.approx(frames / rate_hz)


def test_last_window_ends_with_the_sound() -> None:
    first, second = windows((np.arange(1, 151, dtype=np.float32) / 150, 1000), 1000, 0.1)
    assert (first.start_s, first.end_s, first.fresh_s) == (0.0, 0.1, 0.1)
    assert (round(second.start_s, 9), second.end_s, second.fresh_s) == (0.05, 0.15, 0.05)
    np.testing.assert_array_equal(second.samples, np.arange(51, 151, dtype=np.float32) / 150)


@pytest.mark.parametrize(("longer", "start"), [("first", 0), ("center", 2500)])
def test_a_single_window(longer: str, start: int, tmp_path: Path) -> None:
    samples = tone(0.375)
    (window,) = windows((samples, 16000), 16000, 0.0625, longer=longer)  # type: ignore[arg-type]
    np.testing.assert_array_equal(window.samples, samples[start : start + 1000])
    assert window.fresh_s == 0.0625


def test_random_window_repeats_with_its_generator(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", seconds=3)

    def starts(seed: int, source: object = path) -> list[float]:
        generator = random.Random(seed)
        found = []
        for _ in range(5):
            found += windows(source, 16000, 0.5, longer="random", generator=generator)  # type: ignore[arg-type]
        return [window.start_s for window in found]

    assert starts(1) == starts(1) != starts(2)
    assert len(set(starts(1))) > 1
    assert all(0 <= start <= 2.5 for start in starts(3))
    with path.open("rb") as file:
        assert starts(1)[0] == starts(1, file)[0]
    with pytest.raises(AudioError, match="needs a generator"):
        next(windows(path, 16000, 0.5, longer="random"))


def test_random_reaches_both_ends() -> None:
    samples = np.arange(1, 104, dtype=np.float32) / 128
    generator = random.Random(0)
    found = {
        next(iter(windows((samples, 1000), 1000, 0.1, longer="random", generator=generator))).start_s for _ in range(60)
    }
    assert found == {0.0, 0.001, 0.002, 0.003}


@pytest.mark.parametrize("longer", ["windows", "first", "center"])
def test_a_short_sound_is_filled(longer: str) -> None:
    (window,) = windows((RAMP.repeat(4), 1000), 1000, 0.03, longer=longer, shorter="pad")  # type: ignore[arg-type]
    np.testing.assert_array_equal(window.samples, np.pad(RAMP.repeat(4), (0, 18)))
    assert (window.fresh_s, window.end_s) == (0.012, 0.012)


@pytest.mark.parametrize("longer", ["windows", "first", "center"])
@pytest.mark.parametrize(("frames", "rate_hz"), [(1, 96000), (100, 96000), (1, 8000), (39, 8000)])
def test_too_short_is_refused(longer: str, frames: int, rate_hz: int) -> None:
    with pytest.raises(AudioError, match=r"array: lasts .* ms; a sound needs at least 5 ms"):
        list(windows((np.ones(frames, np.float32), rate_hz), 8000, 1.0, longer=longer))  # type: ignore[arg-type]


def test_silence_is_told_window_by_window() -> None:
    samples = np.concatenate([np.zeros(1000), tone(0.0625)]).astype(np.float32)
    assert [window.silent for window in windows((samples, 16000), 16000, 0.0625)] == [True, False]


def test_mono_at_another_rate() -> None:
    stereo = np.stack([tone(0.5, 44100)] * 2)
    assert mono_at(Clip(stereo, 44100), 16000).shape == (8000,)
