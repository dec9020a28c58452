"""Pad clips of unequal length into one array so that each has the log-mel that it has alone.

Legend: B clips, T samples, N frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aural.audio.mel import MelConfig
from aural.core.types import FloatArray


def pad_waves(waves: Sequence[FloatArray], grid: int, mel: MelConfig) -> FloatArray:
    """Return waveforms (B, T), zeros after each clip; T is a multiple of `grid`.

    A front end that mirrors a clip at its end reads n_fft / 2 samples beyond it, so these follow the clip.
    """
    tail = mel.n_fft // 2 if mel.pad == "reflect" else 0
    longest = max(len(wave) for wave in waves) + tail
    rows = np.zeros((len(waves), -(-longest // grid) * grid), np.float32)
    for row, wave in zip(rows, waves, strict=True):
        mirrored = np.pad(wave, (0, tail), mode="reflect") if tail else wave
        row[: len(mirrored)] = mirrored
    return rows


def pad_mels(mels: Sequence[NDArray[np.int16]], grid: int) -> NDArray[np.int16]:
    """Return log-mels (B, N, F), zeros after each clip; N is a multiple of `grid`."""
    longest = max(len(mel) for mel in mels)
    rows = np.zeros((len(mels), -(-longest // grid) * grid, mels[0].shape[1]), np.int16)
    for row, mel in zip(rows, mels, strict=True):
        row[: len(mel)] = mel
    return rows


def to_pcm16(wave: FloatArray) -> NDArray[np.int16]:
    """Return 16-bit samples; full scale 1.0 is 32768, as in files."""
    return np.rint(np.clip(wave * 32768.0, -32768, 32767)).astype(np.int16)
