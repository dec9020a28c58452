"""The baseline of peak hashes, and excerpts that are changed and checked."""

from __future__ import annotations

import numpy as np
import pytest

from aural.reproduce.excerpts import Excerpts, correlation, level_db
from aural.search.peak_hashes import STEP, PeakHashes, hashes

RATE_HZ = 8000


def chirps(seed: int, seconds: float = 6.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    wave = np.zeros(round(seconds * RATE_HZ), np.float32)
    for at in range(0, len(wave) - 1600, 800):
        t = np.arange(1600) / RATE_HZ
        wave[at : at + 1600] += np.sin(2 * np.pi * draw.uniform(300, 3000) * t) * np.exp(-8 * t)
    return wave


def test_the_clip_and_the_offset_of_an_excerpt() -> None:
    clips = [chirps(seed) for seed in range(5)]
    index = PeakHashes(clips)
    assert index.bytes_used == 8 * sum(len(hashes(clip)) for clip in clips)
    for number, at_s in ((0, 1.3), (3, 4.0)):
        at = round(at_s * RATE_HZ)
        noisy = clips[number][at : at + RATE_HZ] + 0.02 * np.random.default_rng(9).standard_normal(RATE_HZ)
        clip, offset = index.best(noisy.astype(np.float32))
        assert (clip, abs(offset - at) <= STEP) == (number, True)
    assert index.best(np.zeros(RATE_HZ, np.float32))[0] in (-1, *range(5))
    assert PeakHashes([]).best(clips[0]) == (-1, 0)


def test_hashes_change_with_the_speed_and_not_with_the_level() -> None:
    wave = chirps(0)
    assert np.array_equal(hashes(wave), hashes(4 * wave))
    faster = np.interp(np.arange(0, len(wave), 1.05), np.arange(len(wave)), wave).astype(np.float32)
    same = np.isin(hashes(faster)[:, 0], hashes(wave)[:, 0]).mean()
    assert same < 0.2


def test_excerpts_have_the_level_of_noise_that_was_asked_and_copies_are_right() -> None:
    pytest.importorskip("pyroomacoustics")
    clips = [chirps(seed) for seed in range(4)]
    clips.append(np.concatenate([np.zeros(500, np.float32), 0.5 * clips[1]]))
    silent = np.zeros(2 * RATE_HZ, np.float32)
    draws = Excerpts([*clips, silent], RATE_HZ, length=RATE_HZ, rooms=1, seed=0)
    cases = draws.cases(np.arange(6))
    assert [i for i, _ in cases] == [0, 1, 2, 3, 4]  # the silent clip is not asked
    i, at = cases[1]
    clean = clips[i][at : at + RATE_HZ]
    noisy = draws.query(clips[i], at, {"snr_db": 3})
    scale = float(noisy @ clean / (clean @ clean))
    assert level_db(clean * scale) - level_db(noisy - clean * scale) == pytest.approx(3, abs=1.0)
    assert [draws.is_right((i, at), answer) for answer in (1, 4, 0, -1)] == [True, True, False, False]
    assert correlation(clean, clips[0]) < 0.9
    assert len(draws.query(clips[i], at, {"room": True, "speed": 1.05})) == RATE_HZ
