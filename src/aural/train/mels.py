"""Store 16-bit log-mels in shards as KEY.mel with KEY.json, so that a run does not decode or transform sounds again.

A stored value is the log-mel rounded to steps of 1/256 dB, from -128 to +128 dB, which is much finer than 16-bit sound.
Front ends that return another multiple of the logarithm are stored in the same steps.
`render` decides how much of a clip is stored. The loader cuts windows of frames, or repeats the frames of a short clip.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.audio.mel import MelConfig
from aural.train.sources import Draw

STEPS_PER_DB = 256
NPY_HEADER = 128
"""Bytes before the values of a KEY.mel file."""


def steps(config: MelConfig) -> float:
    """Return the number of storage steps per unit of the front end's output."""
    return STEPS_PER_DB * config.divide * (1 if config.log == "db" else 10)


def pack(mel: Tensor, config: MelConfig) -> NDArray[np.int16]:
    """Convert a log-mel (N, F) to 16-bit steps."""
    return (mel * steps(config)).round().clamp(-32768, 32767).to(torch.int16).numpy()


def unpack(stored: Tensor, config: MelConfig) -> Tensor:
    """Convert 16-bit steps to a log-mel in float32."""
    return stored.to(torch.float32) / steps(config)


def fit_mel(
    mel: NDArray[np.int16], frames: int, crop: str, random: Draw, *, least: int | None = None
) -> NDArray[np.int16]:
    """Crop a log-mel (N, F) to at most `frames` frames, or repeat it to at least `least` (default: `frames`).

    crop: "random", "first" or "center". random: makes the generator; called only for a random crop.
    """
    least = frames if least is None else least
    if len(mel) < least:
        repeated = np.empty((least, mel.shape[1]), mel.dtype)
        for start in range(0, least, len(mel)):
            repeated[start : start + len(mel)] = mel[: least - start]
        return repeated
    room = len(mel) - frames
    if room <= 0:
        return mel
    if crop == "first":
        first = 0
    elif crop == "center":
        first = room // 2
    else:
        first = int(random().integers(0, room + 1))
    return mel[first : first + frames]


def frames_of(sizes: NDArray[np.int32], n_mels: int) -> NDArray[np.int64]:
    """Return the number of frames of KEY.mel files from their sizes in bytes."""
    return (sizes.astype(np.int64) - NPY_HEADER) // (2 * n_mels)


def add_mel(tar: tarfile.TarFile, key: str, stored: NDArray[np.int16], row: dict[str, Any]) -> None:
    """Write one sample: KEY.json and KEY.mel (a .npy array)."""
    array = io.BytesIO()
    np.save(array, stored)
    for name, content in ((f"{key}.json", json.dumps(row).encode()), (f"{key}.mel", array.getvalue())):
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
