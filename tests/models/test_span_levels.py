"""Levels inside spans: tones and noise of known power, overlaps by subtraction, pauses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.core.types import Clip
from aural.models.locate import Span
from aural.models.span_levels import covered, decibels, mean_power, soundings, step_powers, two_powers

RATE = 16_000


def span(onset_s: float, offset_s: float) -> Span:
    return Span("", onset_s, offset_s, 0.9)


def powers(*parts: tuple[float, float]) -> np.ndarray:
    """Return the powers of parts of (seconds, power)."""
    return np.concatenate([np.full(round(100 * seconds), power) for seconds, power in parts])


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_full_scale_is_0_db_at_any_rate(rate: int) -> None:
    square = np.where(np.arange(3 * rate) % 2, 1.0, -1.0).astype(np.float32)
    steps = step_powers((square, rate))
    assert len(steps) == 300
    assert steps == pytest.approx(np.ones(300))
    sine = np.sin(2 * np.pi * 100 * np.arange(3 * rate) / rate).astype(np.float32)
    assert decibels(mean_power(step_powers((sine, rate)), [span(0.0, 3.0)])) == pytest.approx(-3.0103, abs=0.01)


def test_channels_are_averaged_as_powers_and_the_last_step_may_be_short() -> None:
    left = np.ones(RATE + 40, np.float32)
    steps = step_powers(Clip(np.stack([left, -left]), RATE))  # their sum is silent
    assert len(steps) == 101
    assert steps == pytest.approx(np.ones(101))
    assert step_powers(Clip(np.ones((1, 3), np.float32), RATE)) == pytest.approx([1.0])


def test_blocks_of_a_long_file_give_what_one_block_gives(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050 * 61 + 7).astype(np.float32)
    path = tmp_path / "long.wav"
    soundfile.write(path, noise, 22_050, subtype="FLOAT")
    edges = np.append(np.arange(6101) * 22_050 // 100, len(noise))
    direct = [float(np.mean(noise[a:b].astype(float) ** 2)) for a, b in pairwise(edges)]
    assert step_powers(path) == pytest.approx(direct)


def test_spans_cover_their_steps_and_at_least_one() -> None:
    assert np.flatnonzero(covered([span(0.02, 0.05), span(0.04, 0.06)], 10)).tolist() == [2, 3, 4, 5]
    assert np.flatnonzero(covered([span(0.031, 0.032)], 10)).tolist() == [3]
    assert np.flatnonzero(covered([span(0.2, 0.3)], 10)).tolist() == [9]
    assert not covered([], 3).any()


def test_level_is_the_mean_power_of_all_spans() -> None:
    steps = powers((1.0, 0.01), (1.0, 0.5), (2.0, 0.04))
    assert mean_power(steps, [span(0, 1), span(2, 4)]) == pytest.approx(0.03)


def test_overlapping_parts_are_left_out() -> None:
    steps = powers((1.0, 0.02), (1.0, 5.0), (1.0, 0.01))
    assert two_powers(steps, [span(0, 2)], [span(1, 3)]) == pytest.approx((0.02, 0.01, False))


def test_the_power_of_a_sound_within_another_is_what_it_adds() -> None:
    steps = powers((1.0, 0.02), (1.0, 0.07), (1.0, 0.02))
    assert two_powers(steps, [span(0, 3)], [span(1, 2)]) == pytest.approx((0.02, 0.05, True))
    assert two_powers(steps, [span(1, 2)], [span(0, 3)]) == pytest.approx((0.05, 0.02, True))
    assert two_powers(steps[::-1] * 0 + 0.02, [span(0, 3)], [span(1, 2)]) == pytest.approx((0.02, 0.0, True))
    assert two_powers(steps, [span(0, 3)], [span(0.04, 2.96)]) is None  # 0.08 s in all
    assert two_powers(steps, [span(1, 2)], [span(1, 2)]) is None


@pytest.mark.parametrize(("between", "count"), [(0.15, 1), (0.3, 2)])
def test_a_deep_pause_divides_a_span(between: float, count: int) -> None:
    steps = powers((0.5, 1.0), (between, 0.001), (0.5, 1.0))  # -30 dB
    assert soundings(steps, span(0, len(steps) / 100)) == count
    shallow = powers((0.5, 1.0), (between, 0.01), (0.5, 1.0))  # -20 dB
    assert soundings(shallow, span(0, len(steps) / 100)) == 1


def test_silence_has_no_pauses() -> None:
    assert soundings(np.zeros(100), span(0, 1)) == 1
    assert decibels(0.0) == -200
