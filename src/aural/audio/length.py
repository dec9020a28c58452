"""Bring sounds to the length of a model's window by repeatable policies for longer and shorter sounds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aural.audio.decode import source_name
from aural.audio.io import blocks, to_mono
from aural.audio.resample import resample
from aural.core.errors import AudioError
from aural.core.types import AudioSource, Clip, FloatArray

Longer = Literal["windows", "first", "center", "random"]
Shorter = Literal["repeat", "repeat-pad", "pad"]
MIN_DURATION_S = 0.005


@dataclass(frozen=True, slots=True)
class Window:
    """One model input: `samples` (T,) of the window's length, starting at `start_s`.

    `fresh_s` is the length of the part that no earlier window contains.
    """

    samples: FloatArray
    start_s: float
    end_s: float
    fresh_s: float
    silent: bool


def fit_shorter(samples: FloatArray, length: int, how: Shorter) -> FloatArray:
    """Fill samples (T,), T <= length, to (length,).

    repeat: loop and cut (msclap); repeat-pad: complete repeats, then zeros (LAION); pad: zeros after the sound.
    """
    have = samples.shape[0]
    if how != "pad":
        samples = np.tile(samples, length // have if how == "repeat-pad" else -(-length // have))[:length]
    return np.pad(samples, (0, length - samples.shape[0]))


def windows(
    source: AudioSource,
    sample_rate_hz: int,
    window_s: float,
    *,
    longer: Longer = "windows",
    shorter: Shorter | None = "repeat",
    generator: random.Random | None = None,
) -> Iterator[Window]:
    """Yield windows of `window_s` seconds of a sound, mono at `sample_rate_hz`, in bounded memory.

    longer: "windows" yields successive windows over the whole sound; the last one ends with the sound and overlaps the
    previous one, so that no window is padded. "first", "center" and "random" (needs a generator) yield one window.
    shorter=None keeps a sound that is shorter than the window at its length.
    """
    if longer == "random" and generator is None:
        raise AudioError('longer="random" needs a generator, so that the choice is repeatable')
    length = round(window_s * sample_rate_hz)
    if longer in ("center", "random"):
        yield _single(source, sample_rate_hz, length, longer, shorter, generator)
        return
    previous: FloatArray | None = None
    at = 0
    for block in blocks(source, window_s, sample_rate_hz=sample_rate_hz):
        samples = block.samples[0]
        have = samples.shape[0]
        end_s, start_s, fresh_s = (at + have) / sample_rate_hz, at / sample_rate_hz, have / sample_rate_hz
        if have < length and previous is None:
            check_length(samples, sample_rate_hz, source)
            samples = samples if shorter is None else fit_shorter(samples, length, shorter)
        elif have < length and previous is not None:
            samples = np.concatenate([previous, samples])[-length:]
            start_s = (at + have - length) / sample_rate_hz
        previous = samples
        yield Window(samples, start_s, end_s, fresh_s, not samples.any())
        if longer == "first":
            return
        at += have
    if previous is None:  # no sample at this rate
        check_length(np.zeros(0, np.float32), sample_rate_hz, source)


def _single(
    source: AudioSource,
    rate: int,
    length: int,
    longer: Longer,
    shorter: Shorter | None,
    generator: random.Random | None,
) -> Window:
    """Return the center or a random window: measure the sound in one pass and cut it in a second."""
    if hasattr(source, "read") and not source.seekable():  # type: ignore[union-attr]
        source = source.read()  # type: ignore[union-attr]  # a pipe can be read only once
    total = sum(block.frames for block in blocks(source, 60.0, sample_rate_hz=rate))
    start = 0
    if total > length:
        start = (total - length) // 2 if longer == "center" else generator.randrange(total - length + 1)  # type: ignore[union-attr]
    parts, at = [], 0
    for block in blocks(source, 60.0, sample_rate_hz=rate):
        parts.append(block.samples[0, max(0, start - at) : max(0, start + length - at)])
        at += block.frames
        if at >= start + length:
            break
    samples = np.concatenate([np.zeros(0, np.float32), *parts])
    fresh = samples.shape[0]
    if fresh < length:
        check_length(samples, rate, source)
        samples = samples if shorter is None else fit_shorter(samples, length, shorter)
    return Window(samples, start / rate, (start + fresh) / rate, fresh / rate, not samples.any())


def check_length(samples: FloatArray, rate: int, source: AudioSource) -> None:
    """Raise AudioError if samples (T,) are shorter than a sound may be."""
    if samples.shape[0] < MIN_DURATION_S * rate:
        lasts_ms, least_ms = 1000 * samples.shape[0] / rate, 1000 * MIN_DURATION_S
        raise AudioError(f"{source_name(source)}: lasts {lasts_ms:.2f} ms; a sound needs at least {least_ms:g} ms")


def mono_at(clip: Clip, sample_rate_hz: int) -> FloatArray:
    """Return a decoded clip as mono samples (T,) at another rate."""
    return resample(to_mono(clip.samples), clip.sample_rate_hz, sample_rate_hz)[0]
