"""Augment waveforms (speed, gain, noise, mixing) and log-mels (masks).

Every random function takes the generator that it draws from. Levels are in dB; ratios compare mean powers.

Legend: T samples, B clips, N frames, F mel bands.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aural.audio.resample import resample
from aural.core.config import Config
from aural.core.types import FloatArray

Range = tuple[float, float]
SILENCE = 1e-10  # mean power below which a clip counts as silent


class AugmentConfig(Config):
    """Settings of the augmentation; the defaults change nothing.

    A chance is a probability between 0 and 1. Values are drawn uniformly from ranges.
    """

    gain_db: Range = (0.0, 0.0)
    speed: Range = (1.0, 1.0)
    """Playback-speed factor, sampled log-uniformly. Pitch changes with speed."""
    noise_chance: float = 0.0
    noise_snr_db: Range = (10.0, 40.0)
    time_masks: int = 0
    time_mask_frames: int = 64
    """Maximum length of a time mask in frames."""
    band_masks: int = 0
    band_mask_bands: int = 8


def gain(wave: FloatArray, range_db: Range, generator: np.random.Generator) -> FloatArray:
    """Change the level of a waveform (T,) by a random number of dB."""
    return scaled(wave, float(generator.uniform(*range_db)))


def scaled(wave: FloatArray, level_db: float) -> FloatArray:
    """Return a waveform (T,) times 10^(dB / 20)."""
    return wave * np.float32(10.0 ** (level_db / 20.0))


def change_speed(samples: FloatArray, factor: float) -> FloatArray:
    """Play samples (C, T) faster by `factor`: returns about (C, T / factor), with the pitch raised by the factor."""
    return resample(samples, round(1000 * factor), 1000)


def faster(wave: FloatArray, factor: float) -> FloatArray:
    """Return a waveform (T,) played faster by `factor`; see `change_speed`."""
    return change_speed(wave[None], factor)[0]


def noise(wave: FloatArray, snr_db: Range, generator: np.random.Generator) -> FloatArray:
    """Add white noise at a random signal-to-noise ratio to a waveform (T,); silence stays silent."""
    hiss = generator.standard_normal(len(wave), dtype=np.float32)
    return mix(wave, hiss, float(generator.uniform(*snr_db)))


def mix(wave: FloatArray, other: FloatArray, snr_db: float) -> FloatArray:
    """Add `other` (T,) to `wave` (T,), scaled to a signal-to-noise ratio of `snr_db`; silence is returned unchanged."""
    power, other_power = _power(wave), _power(other)
    if power < SILENCE or other_power < SILENCE:
        return wave
    return wave + other * np.float32(np.sqrt(power / other_power) * 10.0 ** (-snr_db / 20.0))


def augment(wave: FloatArray, config: AugmentConfig, generator: np.random.Generator) -> FloatArray:
    """Apply speed, gain and noise to a waveform (T,) as configured; a change of speed changes T."""
    if config.speed != (1.0, 1.0):
        wave = faster(wave, float(np.exp(generator.uniform(*np.log(config.speed)))))
    if config.gain_db != (0.0, 0.0):
        wave = gain(wave, config.gain_db, generator)
    if config.noise_chance and generator.random() < config.noise_chance:
        wave = noise(wave, config.noise_snr_db, generator)
    return wave


def masks(frames: int, bands: int, config: AugmentConfig, generator: np.random.Generator) -> list[tuple[int, ...]]:
    """Draw the rectangles (first frame, end, first band, end) to mask. SpecAugment, Park et al. (2019), section 2."""
    rectangles: list[tuple[int, ...]] = []
    for _ in range(config.time_masks):
        first, end = _span(frames, config.time_mask_frames, generator)
        rectangles.append((first, end, 0, bands))
    for _ in range(config.band_masks):
        first, end = _span(bands, config.band_mask_bands, generator)
        rectangles.append((0, frames, first, end))
    return rectangles


def apply_masks(mel: Tensor, rectangles: Tensor) -> Tensor:
    """Set the `rectangles` (B, M, 4) of log-mels (B, N, F) to the mean of each clip, without a loop over clips."""
    if rectangles.shape[1] == 0:
        return mel
    frame = torch.arange(mel.shape[1], device=mel.device)
    band = torch.arange(mel.shape[2], device=mel.device)
    first, end, low, high = rectangles[..., None].unbind(2)  # each (B, M, 1)
    in_time = (frame >= first) & (frame < end)  # (B, M, N)
    in_band = (band >= low) & (band < high)  # (B, M, F)
    hidden = (in_time[..., None] & in_band[:, :, None]).any(1)  # (B, N, F)
    return torch.where(hidden, mel.mean((1, 2), keepdim=True), mel)


def _span(size: int, longest: int, generator: np.random.Generator) -> tuple[int, int]:
    width = int(generator.integers(0, min(longest, size) + 1))
    first = int(generator.integers(0, size - width + 1))
    return first, first + width


def _power(wave: FloatArray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))
