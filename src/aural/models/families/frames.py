"""Join the frames that a model gives for the windows of a sound."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from aural.audio.io import as_source
from aural.audio.length import windows
from aural.core.types import AudioSource, FloatArray
from aural.models.embedding import AudioInput


def joined_frames(
    clip: AudioSource, audio: AudioInput, states: Callable[[Tensor], Tensor], step_s: float
) -> tuple[FloatArray, list[tuple[float, float]]]:
    """Return the frames (F, E) of a complete sound with their (start, end) in seconds, each once.

    states: a window (T,) to its frames (W, E), one per `step_s` seconds. Frames that cover only what fills a short
    sound are left out.
    """
    rows, times = [], []
    for window in windows(as_source(clip), audio.sample_rate_hz, audio.window_s, shorter=audio.shorter):
        frames = states(torch.from_numpy(window.samples)).numpy()
        starts = window.start_s + step_s * np.arange(len(frames))
        first_s = window.end_s - window.fresh_s  # the last window overlaps the previous one
        new = (starts >= first_s - step_s / 2) & (starts < window.end_s - 1e-9)
        rows.append(frames[new])
        times += [(start, min(start + step_s, window.end_s)) for start in starts[new].tolist()]
    return np.concatenate(rows), times
