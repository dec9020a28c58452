"""Embed a sound frame by frame in bounded memory: with the tokens of its encoder, or in short windows.

Legend: B waveforms, W frames, E joint dimensions, T samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import as_source, blocks
from aural.audio.length import Shorter, check_length, fit_shorter, windows
from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.types import AudioSource, FloatArray

BLOCK_S = 30.0
"""Sound that is read and computed at once. Longer blocks repeat fewer samples at their ends and take more memory."""
FRAME_S, HOP_S = 1.0, 0.5
"""Length and distance of short windows, for a model whose encoder gives no frames."""
LEAST_HOP_S = 0.001


class FrameLayout(Config):
    """Lengths in samples by which the frames of an encoder divide a sound.

    step: length of a frame; None: the encoder reads windows of the model's length, which its frames divide evenly.
    align: blocks of a sound start at multiples of it and are filled to a multiple. margin: samples on each side of a
    frame that it depends on, a multiple of `align`.
    """

    step: int | None = None
    align: int = 1
    margin: int = 0


class AudioInput(Protocol):
    """The sounds that an audio tower reads: mono at one sample rate, in windows of one length."""

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def window_s(self) -> float: ...

    @property
    def shorter(self) -> Shorter | None: ...


class FrameModel(AudioInput, Protocol):
    """A model that embeds frames, as this module uses it."""

    windows_a_batch: int

    @property
    def frame_layout(self) -> FrameLayout | None: ...

    def embed_windows(self, windows: list[FloatArray]) -> FloatArray: ...

    def frames_of_waves(self, waves: FloatArray) -> FloatArray: ...


@dataclass(frozen=True)
class Frames:
    """Consecutive frames: unit rows (W, E), and the time in seconds (W, 2) that each represents.

    `silent` (W,) marks digital silence.
    """

    vectors: FloatArray
    times_s: NDArray[np.float64]
    silent: NDArray[np.bool_]


def stream_frames(model: FrameModel, source: AudioSource) -> Iterator[Frames]:
    """Yield all frames of a sound, some seconds at a time; together they cover it without gaps or overlaps.

    A sound shorter than the model's window is filled to it by the model's policy, and only its frames are kept.

    Raises:
        AudioError: the sound cannot be read.
    """
    layout = model.frame_layout
    if layout is None:
        frame_s = min(FRAME_S, model.window_s)
        yield from short_frames(model, source, frame_s=frame_s, hop_s=min(HOP_S, frame_s))
    elif layout.step is None:
        yield from window_frames(source, model, lambda wave: model.frames_of_waves(wave[None])[0])
    else:
        yield from _block_frames(model, source, layout, layout.step)


class ScoredFrames:
    """The probabilities of all frames of a sound at once, for a `FrameScorer`."""

    def stream_probabilities(
        self, clip: AudioSource, texts: Sequence[str]
    ) -> Iterator[tuple[FloatArray, NDArray[np.float64]]]:
        """Yield the probabilities (W, M) of M texts in the frames of one block, and their times in seconds (W, 2)."""
        raise NotImplementedError

    def frame_probabilities(
        self, clip: AudioSource, texts: Sequence[str]
    ) -> tuple[FloatArray, list[tuple[float, float]]]:
        """Return the probability (M, W) of each text in each frame, and the (start, end) of each frame in seconds."""
        parts = list(self.stream_probabilities(clip, texts))
        times = np.concatenate([times for _, times in parts])
        return np.concatenate([rows for rows, _ in parts]).T, [(float(a), float(b)) for a, b in times]


def joined(parts: Iterable[Frames]) -> tuple[FloatArray, list[tuple[float, float]]]:
    """Return all frames (W, E) of a sound and the (start, end) of each in seconds."""
    taken = list(parts)
    times = np.concatenate([part.times_s for part in taken])
    return np.concatenate([part.vectors for part in taken]), [(float(a), float(b)) for a, b in times]


def frames_text(layout: FrameLayout | None, model: AudioInput) -> str:
    """Describe in one phrase where a model's frames come from."""
    if layout is None:
        return f"short windows of {FRAME_S:g} s every {HOP_S:g} s"
    if layout.step is None:
        return f"the encoder's, in windows of {model.window_s:g} s"
    return f"the encoder's, one per {layout.step / model.sample_rate_hz:g} s"


def _block_frames(model: FrameModel, source: AudioSource, layout: FrameLayout, step: int) -> Iterator[Frames]:
    """Yield frames block by block; each block is computed with the margin of sound around it."""
    rate, margin = model.sample_rate_hz, layout.margin
    block = max(margin, round(BLOCK_S * rate) // layout.align * layout.align, layout.align)
    pieces = (piece.samples[0] for piece in blocks(source, block / rate, sample_rate_hz=rate))
    before, at = np.zeros(0, np.float32), 0
    current = next(pieces, before)
    check_length(current, rate, source)
    following = next(pieces, None)
    window = round(model.window_s * rate)
    while True:
        after = before[:0] if following is None else following[:margin]
        wave = np.concatenate([before, current, after])
        if at == 0 and len(wave) < window and model.shorter is not None:
            wave = fit_shorter(wave, window, model.shorter)
        wave = np.pad(wave, (0, -len(wave) % layout.align))
        first, count = len(before) // step, -(-len(current) // step)
        rows = model.frames_of_waves(wave[None])[0, first : first + count]
        edges = np.minimum(at + step * np.arange(count + 1), at + len(current))
        heard = np.add.reduceat(current != 0, np.arange(0, len(current), step)) > 0
        yield Frames(rows, np.stack([edges[:-1], edges[1:]], axis=1) / rate, ~heard)
        if following is None:
            return
        before, at = current[len(current) - margin :], at + len(current)
        current, following = following, next(pieces, None)


def window_frames(
    source: AudioSource, audio: AudioInput, states: Callable[[FloatArray], FloatArray], step_s: float | None = None
) -> Iterator[Frames]:
    """Yield the frames of successive windows, each frame once.

    states: a window (T,) to its frames (W, E), one per `step_s` seconds; None: they divide the window evenly. Frames
    that cover only what fills a short sound are left out.
    """
    for window in windows(as_source(source), audio.sample_rate_hz, audio.window_s, shorter=audio.shorter):
        rows = states(window.samples)
        step = step_s or audio.window_s / len(rows)
        starts = window.start_s + step * np.arange(len(rows))
        first_s = window.end_s - window.fresh_s  # the last window overlaps the previous one
        new = (starts >= first_s - step / 2) & (starts < window.end_s - 1e-9)
        times = np.stack([starts[new], np.minimum(starts[new] + step, window.end_s)], axis=1)
        at = np.rint((starts[new] - window.start_s) * audio.sample_rate_hz).astype(int)
        size = max(1, round(step * audio.sample_rate_hz))
        silent = np.array([not window.samples[i : i + size].any() for i in at], bool)
        yield Frames(rows[new], times, silent)


def short_frames(
    model: FrameModel, source: AudioSource, *, frame_s: float = FRAME_S, hop_s: float = HOP_S
) -> Iterator[Frames]:
    """Yield short windows of a sound as its frames, `model.windows_a_batch` at a time.

    A frame of `frame_s` represents the `hop_s` around its center; the first and last ones reach to the ends of the
    sound. Frames start every `hop_s` seconds; the last one ends with the sound. Each is filled to the model's window by
    the model's own policy for shorter sounds. A sound shorter than a frame is one frame.

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


def check_frames(model: FrameModel, frame_s: float, hop_s: float) -> None:
    """Raise ConfigError if the model cannot embed frames of this length and distance."""
    if not LEAST_HOP_S <= hop_s <= frame_s <= model.window_s:
        raise ConfigError(
            f"frames of {frame_s:g} s every {hop_s:g} s: the hop must be at least {LEAST_HOP_S:g} s and at most the "
            f"frame, and the frame at most the model's window of {model.window_s:g} s"
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
        check_length(held, rate, source)
        yield 0, held, True
        return
    if rest > 0:
        yield *pending, False
        tail = np.concatenate([pending[1][:hop], held])[-frame:]
        pending = first + len(held) - len(tail), tail
    yield *pending, True
