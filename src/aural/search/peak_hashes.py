"""Hashes of pairs of spectral peaks: the classical way to find a recording by an excerpt, as a baseline.

Wang (2003), "An industrial strength audio search algorithm", ISMIR: local maxima of the spectrogram are paired with
later ones nearby; a pair is a hash of both frequencies and the distance. Hashes that an excerpt and a clip share vote
for the clip and the offset between them.

Legend: H hashes, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray

SIZE: Final = 1024
STEP: Final = 128
"""Samples of a transform, and between two."""
NEAR: Final = (9, 15)
"""Frames and bins in which a peak is the highest."""
RANGE: Final = 6.9
"""Peaks are at most 60 dB below the highest one; natural logarithm of the magnitude."""
FAN_OUT: Final = 8
"""Pairs per peak."""
LATEST: Final = 48
WIDEST: Final = 96
"""Greatest distance of a pair in frames and in bins."""


class PeakHashes:
    """An index of the hashes of clips (T,), all at one sample rate."""

    def __init__(self, clips: Sequence[FloatArray]) -> None:
        parts = [hashes(clip) for clip in clips]
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        table = np.column_stack([np.concatenate([np.empty((0, 2), np.int64), *parts]), owner])
        self.table = table[np.argsort(table[:, 0], kind="stable")]
        """Hash, frame and clip (H, 3), sorted by hash."""

    @property
    def bytes_used(self) -> int:
        """The size of the index: 32 bits per hash, and 32 for clip and frame."""
        return 8 * len(self.table)

    def best(self, wave: FloatArray) -> tuple[int, int]:
        """Return the clip with the most votes for one offset, and that offset in samples; (-1, 0) without a vote."""
        asked = hashes(wave)
        firsts, lasts = (np.searchsorted(self.table[:, 0], asked[:, 0], side) for side in ("left", "right"))
        votes = [
            self.table[first:last, 1:] - (frame, 0)
            for first, last, frame in zip(firsts, lasts, asked[:, 1], strict=True)
            if last > first
        ]
        if not votes:
            return -1, 0
        places, counts = np.unique(np.concatenate(votes), axis=0, return_counts=True)
        shift, clip = places[int(counts.argmax())]
        return int(clip), int(shift) * STEP


def hashes(wave: FloatArray) -> NDArray[np.int64]:
    """Return the hash of each pair of peaks and the frame of the first (H, 2) of samples (T,)."""
    from scipy.ndimage import maximum_filter

    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, SIZE // 2), SIZE)[::STEP]
    levels = np.log(np.abs(np.fft.rfft(frames * np.hanning(SIZE), axis=1)) + 1e-6)
    at, bins = np.nonzero((levels == maximum_filter(levels, NEAR)) & (levels > levels.max() - RANGE))
    rows = list[tuple[int, int]]()
    for i in range(len(at)):
        last = np.searchsorted(at, at[i] + LATEST, side="right")
        later = np.arange(np.searchsorted(at, at[i] + 1), last)
        later = later[np.abs(bins[later] - bins[i]) <= WIDEST][:FAN_OUT]
        rows += [(int(bins[i]) << 16 | int(bins[j]) << 6 | int(at[j] - at[i]), int(at[i])) for j in later]
    return np.array(rows, np.int64).reshape(-1, 2)
