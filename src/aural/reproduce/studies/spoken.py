"""Spoken words and sentences as log-mels, computed once: parts of several studies. All are spoken by espeak-ng.

In a smoke test a hum takes the place of a voice, so that espeak-ng is not needed.

Legend: N clips, T samples, F mel bands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.audio.resample import resample
from aural.core.types import FloatArray
from aural.data.speech.espeak import Utterance, speak
from aural.data.speech.prosody import at_level
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.voices import device_of, from_bytes, to_bytes
from aural.reproduce.study import StudyContext
from aural.reproduce.worlds import MEL, RATE_HZ, log_mel

LEVEL_DBFS = -26.0
SILENCE = np.iinfo(np.int16).min


def say(utterance: Utterance, *, smoke: bool) -> FloatArray:
    """Return an utterance (T,) at `RATE_HZ` and `LEVEL_DBFS`."""
    if smoke:
        return hum(utterance)
    spoken = speak(utterance)
    return at_level(resample(spoken.clip.samples, spoken.clip.sample_rate_hz, RATE_HZ)[0], LEVEL_DBFS)


def hum(utterance: Utterance) -> FloatArray:
    """Return half a second of tones that depend on the text and the voice."""
    rng = np.random.default_rng(list(hashlib.sha256(repr(utterance).encode()).digest()[:8]))
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * frequency * time_s) for frequency in rng.uniform(100, 3000, 4))
    wave: FloatArray = at_level(np.asarray(tones, np.float32), LEVEL_DBFS)
    return wave


def spoken_mels(
    context: StudyContext, name: str, key: str, makers: Sequence[Callable[[], FloatArray]], frames: int
) -> Tensor:
    """Return the 16-bit log-mels (N, frames, F) of waves on the device of the study.

    They are computed once and stored in 8 bits. Longer waves are cut, shorter ones are followed by silence.

    key: everything that the waves depend on.
    """

    def compute() -> dict[str, NDArray[Any]]:
        with ThreadPoolExecutor(2) as pool:
            waves = pool.map(lambda make: make(), makers)
            return {"mel": np.stack([to_bytes(padded(log_mel(wave), frames)) for wave in waves])}

    stored = shared_arrays(context, name, repr((MEL, LEVEL_DBFS, frames, key)), compute)
    return torch.from_numpy(from_bytes(stored["mel"])).to(device_of(context))


def padded(mel: NDArray[np.int16], frames: int) -> NDArray[np.int16]:
    """Return a log-mel (N, F) with exactly `frames` frames: cut, or followed by silence."""
    silence = np.full((max(0, frames - len(mel)), mel.shape[1]), SILENCE, np.int16)
    return np.concatenate([mel[:frames], silence])
