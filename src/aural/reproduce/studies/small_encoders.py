"""A small transformer over log-mels and its augmentation: parts of several studies.

Legend: B clips, N frames, F mel bands, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.audio.augment import AugmentConfig, apply_masks, masks
from aural.encoders.vit import Vit, VitConfig
from aural.reproduce.worlds import MEL
from aural.train.mels import unpack

MIDDLE_DB: Final = -45.0
SPREAD_DB: Final = 20.0
MASKS: Final = AugmentConfig(time_masks=1, time_mask_frames=12, band_masks=1, band_mask_bands=6)


def small_vit(frames: int, *, dim: int = 96, depth: int = 2, patch: int = 5) -> Vit:
    """Return a transformer whose patches are `patch` frames of all bands."""
    return Vit(
        VitConfig(
            n_mels=MEL.n_mels, patch_frames=patch, patch_mels=MEL.n_mels, stride_frames=patch,
            stride_mels=MEL.n_mels, dim=dim, depth=depth, heads=4, mlp_ratio=2.0, drop_path=0.0, max_frames=frames,
        )
    )  # fmt: skip


def inputs(stored: Tensor) -> Tensor:
    """Return 16-bit log-mels (B, N, F) as values of about -2 to 2."""
    return (unpack(stored, MEL) - MIDDLE_DB) / SPREAD_DB


def masked(mel: Tensor, rng: np.random.Generator, config: AugmentConfig = MASKS) -> Tensor:
    """Return log-mels (B, N, F) with drawn masks."""
    rectangles = [masks(mel.shape[1], mel.shape[2], config, rng) for _ in range(len(mel))]
    return apply_masks(mel, torch.tensor(rectangles, device=mel.device))


@torch.no_grad()
def embedded(module: nn.Module, embed: Callable[[Tensor], Tensor], stored: Tensor) -> NDArray[np.float64]:
    """Return the rows (N, D) of 16-bit log-mels in float64, in evaluation mode."""
    module.eval()
    return torch.cat([embed(inputs(part)) for part in stored.split(256)]).double().cpu().numpy()
