"""Log-mels of 16 bit in shards: KEY.mel beside KEY.json, so that a run need not decode or transform sounds again.

A value is the log-mel in steps of 1/256 dB, rounded, from -128 to +128 dB: far finer than 16-bit sound. Front ends
that give another multiple of the logarithm are stored in the same steps.
Clips are stored whole (see render.py); the loader cuts windows of frames, or repeats a short clip's frames.
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

STEPS_PER_DB = 256


def steps(config: MelConfig) -> float:
    """Steps that the front end's unit is worth."""
    return STEPS_PER_DB * config.divide * (1 if config.log == "db" else 10)


def pack(mel: Tensor, config: MelConfig) -> NDArray[np.int16]:
    """Log-mel (N, F) to 16 bit."""
    return (mel * steps(config)).round().clamp(-32768, 32767).to(torch.int16).numpy()


def unpack(stored: Tensor, config: MelConfig) -> Tensor:
    """16 bit to log-mel, float32."""
    return stored.to(torch.float32) / steps(config)


def fit_mel(mel: NDArray[np.int16], frames: int, crop: str, random: np.random.Generator) -> NDArray[np.int16]:
    """(N, F) to (frames, F): cut as the recipe says, or repeated."""
    if len(mel) < frames:
        return np.tile(mel, (-(-frames // len(mel)), 1))[:frames]
    room = len(mel) - frames
    first = 0 if crop == "first" else room // 2 if crop == "center" else int(random.integers(0, room + 1))
    return mel[first : first + frames]


def add_mel(tar: tarfile.TarFile, key: str, stored: NDArray[np.int16], row: dict[str, Any]) -> None:
    """One sample: KEY.json and KEY.mel (a .npy array)."""
    array = io.BytesIO()
    np.save(array, stored)
    for name, content in ((f"{key}.json", json.dumps(row).encode()), (f"{key}.mel", array.getvalue())):
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
