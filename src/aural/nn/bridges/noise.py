"""Noise on text vectors, so that what learned to read them also reads vectors of sounds.

Nukrai et al. 2022, "Text-only training for image captioning using noise-injected CLIP" (CapDec, arXiv 2211.00575); used
for sounds by Kouzelis and Katsouros 2023 (WSAC, arXiv 2309.12242).

Legend: B vectors, E dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.nn.functional import unit


def noisy(vectors: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Return unit rows (B, E) of vectors plus Gaussian noise with a standard deviation per dimension.

    >>> noisy(torch.tensor([[3.0, 4.0]]), 0.0, torch.Generator()).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    if deviation < 0:
        raise ConfigError(f"deviation {deviation} is below 0")
    noise = torch.randn(vectors.shape, generator=generator, device=generator.device).to(vectors)
    return unit(vectors + deviation * noise)


def paired_deviation(audio: Tensor, text: Tensor) -> float:
    """Return the deviation per dimension of the difference of paired rows (B, E), after its mean is taken away.

    A guess for `deviation` from a few pairs: the noise then has the size of what separates a sound from its caption.

    >>> paired_deviation(torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [0.0]]))
    0.5
    """
    difference = audio - text
    return float((difference - difference.mean(0)).square().mean().sqrt())
