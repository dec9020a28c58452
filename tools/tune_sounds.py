"""Sounds for `tune_libre_base.py`: first windows in memory, and augmentation on the device.

Legend: B clips, N sounds, T samples, F mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from aural.audio.length import fit_shorter, windows
from aural.data.manifest import Manifest, Row


def first_windows(manifest: Manifest, rows: Sequence[Row], rate_hz: int, window_s: float) -> Any:
    """Return the first window of each row, filled with complete repeats and zeros, as int16 (N, T)."""

    def one(row: Row) -> Any:
        window = next(iter(windows(manifest.file(row), rate_hz, window_s, shorter=None)))
        wave = fit_shorter(window.samples, round(rate_hz * window_s), "repeat-pad")
        return np.rint(np.clip(wave, -1, 1) * 32767).astype(np.int16)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(one, rows)))


def augmented(wave: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, change the speed of, scale and disturb waves (B, T)."""
    size, length = wave.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand((size, 1), generator=generator, device=wave.device) * (high - low) + low

    factor = float(torch.exp(uniform(math.log(0.85), math.log(1.18))[0, 0]))
    faster = interpolate(wave[:, None], scale_factor=1 / factor, mode="linear")[:, 0]
    wave = faster.repeat(1, 2)[:, :length]
    shift = (uniform(0, 1) * length).long()
    wave = wave.gather(1, (torch.arange(length, device=wave.device)[None] + shift) % length)
    power = wave.square().mean(1, keepdim=True).sqrt()
    other = wave.roll(1, 0)
    level = power / power.roll(1, 0).clamp_min(1e-5)
    wave = wave + (uniform(0, 1) < 0.3) * other * level * 10 ** (-uniform(3, 20) / 20)
    noise = torch.randn(wave.shape, generator=generator, device=wave.device)
    wave = wave + (uniform(0, 1) < 0.25) * noise * power * 10 ** (-uniform(5, 40) / 20)
    return (wave * 10 ** (uniform(-12, 6) / 20)).clamp(-1, 1)


def masked(mel: Tensor, generator: torch.Generator) -> Tensor:
    """Set two spans of frames and two of bands of log-mels (B, N, F) to the least value. Park et al. (2019)."""
    floor = mel.amin((1, 2), keepdim=True)
    for axis, longest in ((1, 32), (1, 32), (2, 8), (2, 8)):
        size = mel.shape[axis]
        width, at = (torch.rand((len(mel), 1), generator=generator, device=mel.device) for _ in range(2))
        start = at * (size - width * longest)
        place = torch.arange(size, device=mel.device)[None]
        hidden = (place >= start) & (place < start + width * longest)  # (B, size)
        mel = torch.where(hidden[:, :, None] if axis == 1 else hidden[:, None], floor, mel)
    return mel
