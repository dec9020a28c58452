"""Compute spectral fingerprints, which change little when a recording is re-encoded, resampled, scaled or trimmed.

A fingerprint has 24 log-spaced bands (100 to 5,500 Hz) by 20 segments of equal length of the sounding part, in dB
relative to the loudest cell, with a floor of -60. A 4-byte float precedes the cells: the length of the sounding part in
seconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from aural.audio.io import to_mono
from aural.audio.resample import resample
from aural.core.types import Clip, FloatArray

RATE_HZ: Final = 16_000
BANDS, STRETCHES = 24, 20
FLOOR_DB: Final = 60.0
WINDOW: Final = 512
NEAR_DB: Final = 1.5  # upper limit of the rms difference between two fingerprints of one recording
LENGTH_TOLERANCE: Final = 0.05
SIZE: Final = 4 + BANDS * STRETCHES


def fingerprint(clip: Clip) -> bytes:
    """Return the fingerprint of a clip, `SIZE` bytes, or b"" for silence or a sounding part below 32 ms."""
    mono = resample(to_mono(clip.samples), clip.sample_rate_hz, RATE_HZ)[0]
    sounding = _sounding(mono)
    if len(sounding) < WINDOW:
        return b""
    hop = int(np.clip(len(sounding) // 64, 32, 1024))
    frames = np.lib.stride_tricks.sliding_window_view(sounding, WINDOW)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2  # (N, 257)
    bands = power @ _filters().T  # (N, BANDS)
    edges = np.linspace(0, len(bands), STRETCHES + 1).tolist()
    cells = np.stack(
        [bands[int(a) : max(int(np.ceil(b)), int(a) + 1)].mean(axis=0) for a, b in itertools.pairwise(edges)]
    )
    decibels = 10 * np.log10(cells / max(float(cells.max()), 1e-20) + 1e-9)
    body = np.rint(np.clip(decibels, -FLOOR_DB, 0)).astype(np.int8)
    return np.float32(len(sounding) / RATE_HZ).tobytes() + body.tobytes()


def similar(prints: Sequence[bytes], near_db: float = NEAR_DB) -> Iterator[tuple[int, int]]:
    """Yield the pairs (i, j), i < j, of near-duplicate fingerprints; empty fingerprints match nothing."""
    at = np.array([i for i, p in enumerate(prints) if len(p) == SIZE], dtype=np.int64)
    if len(at) < 2:
        return
    raw = np.frombuffer(b"".join(prints[i] for i in at), np.uint8).reshape(len(at), SIZE)
    lengths = raw[:, :4].copy().view(np.float32)[:, 0]
    cells = raw[:, 4:].copy().view(np.int8).astype(np.float32)
    cells -= cells.mean(axis=1, keepdims=True)
    order = np.argsort(lengths, kind="stable")
    at, lengths, cells = at[order], lengths[order], cells[order]
    norms = (cells**2).sum(axis=1)
    limit = near_db**2 * cells.shape[1]
    for first in range(0, len(at), 512):  # compare a block only with rows that are at most 5 % longer
        block = slice(first, min(first + 512, len(at)))
        end = int(np.searchsorted(lengths, lengths[block.stop - 1] * (1 + LENGTH_TOLERANCE), side="right"))
        distances = norms[block, None] + norms[None, first:end] - 2 * cells[block] @ cells[first:end].T  # squared
        for i, j in np.argwhere(distances < limit):
            if j > i and lengths[first + j] <= lengths[first + i] * (1 + LENGTH_TOLERANCE):
                a, b = int(at[first + i]), int(at[first + j])
                yield (a, b) if a < b else (b, a)


def _sounding(mono: FloatArray) -> FloatArray:
    """Return the samples without quiet ends: from the first to the last sample within 50 dB of the peak."""
    peak = float(np.abs(mono).max(initial=0.0))
    if peak < 1e-5:
        return mono[:0]
    loud = np.flatnonzero(np.abs(mono) > peak * 10 ** (-50 / 20))
    return mono[loud[0] : loud[-1] + 1]


def _filters() -> FloatArray:
    """Return rectangular filters (BANDS, 257) with log-spaced edges."""
    edges = np.geomspace(100, 5500, BANDS + 1)
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
    weights = np.stack([(hertz >= a) & (hertz < b) for a, b in itertools.pairwise(edges)])
    for band, (a, b) in enumerate(itertools.pairwise(edges)):
        if not weights[band].any():  # a band narrower than a bin uses the nearest bin
            weights[band, int(np.argmin(np.abs(hertz - (a + b) / 2)))] = True
    return weights.astype(np.float32)
