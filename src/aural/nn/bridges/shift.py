"""Move vectors of sounds by the difference of the two means.

Liang et al. 2022, "Mind the gap" (arXiv 2203.02053): the two modalities are in two narrow cones, whose
distance is nearly the same for all pairs. WSAC (arXiv 2309.12242) uses it before decoding.

Legend: N sounds, M texts, B vectors, E dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from aural.nn.functional import unit


class Shift(nn.Module):
    """x -> unit(x - mean of sounds + mean of texts)."""

    difference: Tensor

    def __init__(self, audio: Tensor, text: Tensor) -> None:
        """Take unpaired unit rows of sounds (N, E) and of texts (M, E)."""
        super().__init__()
        self.register_buffer("difference", text.mean(0) - audio.mean(0))

    def forward(self, audio: Tensor) -> Tensor:
        """Return unit rows (B, E)."""
        return unit(audio + self.difference)
