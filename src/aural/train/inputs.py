"""Convert the tensors of a batch to inputs of encoders.

Legend: B clips, N frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from aural.audio.augment import apply_masks
from aural.audio.mel import LogMel
from aural.train.mels import unpack


def log_mel(front_end: LogMel, batch: Mapping[str, Any], view: int = 0) -> Tensor:
    """Return the log-mel (B, N, F) of the batch's sounds, or its stored log-mels."""
    wave = batch.get(viewed("wave", view))
    if wave is None:
        return unpack(batch[viewed("mel", view)], front_end.config)
    if wave.dtype.itemsize == 2 and not wave.is_floating_point():  # 16-bit samples
        wave = wave.float() / 32768.0
    mel: Tensor = front_end(wave)
    return mel


def masked(mel: Tensor, batch: Mapping[str, Any], view: int = 0) -> Tensor:
    """Return the log-mel (B, N, F) with the batch's mask rectangles blanked."""
    name = viewed("rectangles", view)
    return apply_masks(mel, batch[name]) if name in batch else mel


def viewed(name: str, view: int) -> str:
    """Return the name of a tensor of the given view: "wave", "wave.1", "wave.2", ..."""
    return f"{name}.{view}" if view else name


def unit(x: Tensor) -> Tensor:
    """Return the rows divided by their length, in float32."""
    return nn.functional.normalize(x.float(), dim=-1)
