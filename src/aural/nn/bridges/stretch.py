"""Positions of a sound that is longer than those in training, squeezed into the positions that training used.

Partial YaRN (row 97): only the positions of the sound are interpolated; those of the text keep their
distance 1 and start where they started in training, so text alone is read as before. Virtual length augmentation (VLAT)
places the short sounds of training as parts of a longer, squeezed one. Here all frequencies are interpolated alike
(Chen et al. 2023, "Extending context window by positional interpolation", arXiv 2306.15595), not by parts.

Legend: R rows, A positions of the sound, L positions of the text.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squeezed_places(sound: int, text: int, trained: int) -> Tensor:
    """Return the positions (sound + text,) of a sound followed by a text; `trained`: positions of a sound in training.

    >>> squeezed_places(4, 2, 2).tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    >>> squeezed_places(2, 2, 2).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    step = min(1.0, trained / sound)
    start = trained if sound > trained else sound
    return torch.cat([torch.arange(sound) * step, start + torch.arange(text).float()])


def virtual_places(sound: int, text: int, factors: Tensor, shifts: Tensor) -> Tensor:
    """Return the positions (R, sound + text) of sounds that stand for parts of longer ones.

    factors: (R,), how many times longer the virtual sound is, at least 1. shifts: (R,) in 0 to 1, where in it the part
    is. The text starts at position `sound`, as in training without augmentation.

    >>> virtual_places(4, 1, torch.tensor([2.0]), torch.tensor([1.0])).tolist()
    [[2.0, 2.5, 3.0, 3.5, 4.0]]
    """
    inside = torch.arange(sound) / factors[:, None] + shifts[:, None] * (sound - sound / factors)[:, None]
    after = sound + torch.arange(text).float()
    return torch.cat([inside, after.expand(len(factors), -1)], dim=1)
