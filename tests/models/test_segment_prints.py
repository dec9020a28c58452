"""Fingerprints of segments: the segments of a sound, and what they survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aural.models import segment_prints as prints
from aural.models.segment_prints import MEL, RATE_HZ, SEGMENT, SegmentPrints, segments_of


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ)).astype(np.float32)


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.3, 1), (1.0, 1), (1.2, 2), (1.5, 2), (2.0, 3), (2.01, 4), (61.7, 123)]
)
def test_segments_cover_a_sound_every_half_second(seconds: float, count: int) -> None:
    wave = noise(seconds)
    blocks = list(segments_of((wave, RATE_HZ)))
    segments = np.concatenate([rows for rows, _ in blocks])
    starts_s = np.concatenate([starts for _, starts in blocks])
    assert np.array_equal(starts_s, 0.5 * np.arange(count))
    padded = np.pad(wave, (0, 2 * SEGMENT))
    for row, start_s in zip(segments, starts_s, strict=True):
        at = round(start_s * RATE_HZ)
        assert np.array_equal(row, padded[at : at + SEGMENT])
    assert starts_s[-1] + 1.0 >= seconds


def test_blocks_of_any_length_give_the_same_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = noise(7.3)
    one = np.concatenate([rows for rows, _ in segments_of((wave, RATE_HZ))])
    monkeypatch.setattr(prints, "BLOCK_S", 0.7)
    several = list(segments_of((wave, RATE_HZ)))
    assert len(several) > 5
    assert np.array_equal(one, np.concatenate([rows for rows, _ in several]))


def test_silent_segments_have_no_fingerprint_and_level_changes_none() -> None:
    torch.manual_seed(0)
    network = SegmentPrints().eval()
    wave = np.concatenate([noise(1.0), np.zeros(2 * RATE_HZ, np.float32), noise(1.0, 1)])
    rows, starts_s = prints.segment_prints((wave, RATE_HZ), network)
    assert starts_s.tolist() == [0.0, 0.5, 2.5, 3.0]
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    louder, _ = prints.segment_prints((4.0 * wave, RATE_HZ), network)
    assert np.abs(rows - louder).max() < 1e-4


def test_a_picture_is_the_log_mel_below_its_loudest_entry() -> None:
    wave = torch.from_numpy(noise(1.0))[None]
    network = SegmentPrints()
    picture = network.pictures(wave)
    assert picture.shape == (1, MEL.frames(SEGMENT), MEL.n_mels)
    decibels = network.front_end(wave)
    assert picture.max() == 1.0
    assert torch.allclose(picture, ((decibels - decibels.max()) / 80 + 1).clamp_min(0))
