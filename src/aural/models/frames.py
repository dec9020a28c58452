"""Embed a sound in short overlapping frames, in bounded memory, with any model.

Legend: W frames, E joint dimensions, T samples of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import blocks
from aural.audio.length import MIN_DURATION_S, Shorter, fit_shorter, windows
from aural.core.errors import ConfigError
from aural.core.types import AudioSource, FloatArray
from aural.models.embedding import EmbeddingModel

BLOCK_S = 30.0


@dataclass(frozen=True)
class Frames:
    """Consecutive frames: unit rows (W, E), and the time in seconds (W, 2) that each represents.

    A frame of `frame_s` represents the `hop_s` around its center; the first and last ones reach to the ends of the
    sound. `silent` (W,) marks digital silence.
    """

    vectors: FloatArray
    times_s: NDArray[np.float64]
    silent: NDArray[np.bool_]


def stream_frames(
    model: EmbeddingModel, source: AudioSource, *, frame_s: float = 1.0, hop_s: float = 0.5
) -> Iterator[Frames]:
    """Yield all frames of a sound, `model.windows_a_batch` at a time.

    Frames start every `hop_s` seconds; the last one ends with the sound. Each is filled to the model's window by the
    model's own policy for shorter sounds. A sound shorter than a frame is one frame.

    Raises:
        ConfigError: a frame longer than the model's window, or a hop longer than a frame.
        AudioError: the sound cannot be read.
    """
    check_frames(model, frame_s, hop_s)
    rate, length = model.sample_rate_hz, round(model.window_s * model.sample_rate_hz)
    frame, hop = max(1, round(frame_s * rate)), max(1, round(hop_s * rate))
    waiting: list[tuple[int, FloatArray]] = []
    before = 0.0
    for start, samples, last in _cut(source, rate, frame, hop):
        waiting.append((start, samples))
        if last or len(waiting) == model.windows_a_batch:
            starts = np.array([at for at, _ in waiting])
            ends = (starts + frame / 2 + hop / 2) / rate
            if last:
                ends[-1] = (start + len(samples)) / rate
                ends = np.minimum(ends, ends[-1])
            waves = [_filled(wave, length, model.shorter) for _, wave in waiting]
            times = np.stack([np.concatenate([[before], ends[:-1]]), ends], axis=1)
            yield Frames(model.embed_windows(waves), times, np.array([not wave.any() for _, wave in waiting]))
            before, waiting = float(ends[-1]), []


def _filled(wave: FloatArray, length: int, shorter: Shorter | None) -> FloatArray:
    return wave if shorter is None else fit_shorter(wave, length, shorter)


def check_frames(model: EmbeddingModel, frame_s: float, hop_s: float) -> None:
    """Raise ConfigError if the model cannot embed frames of this length and distance."""
    if not 0 < hop_s <= frame_s <= model.window_s:
        raise ConfigError(
            f"frames of {frame_s:g} s every {hop_s:g} s: the hop must be above 0 and at most the frame, and the frame "
            f"at most the model's window of {model.window_s:g} s"
        )


def _cut(source: AudioSource, rate: int, frame: int, hop: int) -> Iterator[tuple[int, FloatArray, bool]]:
    """Yield start, samples (T,) and whether it is the last one, for each frame."""
    held, first = np.zeros(0, np.float32), 0  # samples not yet passed, and the position of the first of them
    pending: tuple[int, FloatArray] | None = None
    for block in blocks(source, BLOCK_S, sample_rate_hz=rate):
        held = np.concatenate([held, block.samples[0]])
        while len(held) >= frame:
            if pending is not None:
                yield *pending, False
            pending = first, held[:frame]
            held, first = held[hop:], first + hop
    rest = len(held) - (frame - hop if pending is not None else 0)  # samples that no frame contains
    if pending is None:
        if len(held) < MIN_DURATION_S * rate:
            next(windows(source, rate, frame / rate))  # raises the error for sounds that are too short
        yield 0, held, True
        return
    if rest > 0:
        yield *pending, False
        tail = np.concatenate([pending[1][:hop], held])[-frame:]
        pending = first + len(held) - len(tail), tail
    yield *pending, True
