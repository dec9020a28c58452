"""Replace the vector of a sound by a mean of remembered text vectors, weighted by likeness.

Li et al. 2023, "DeCap: Decoding CLIP latents for zero-shot captioning via text-only training" (arXiv 2303.03032);
"projection-based decoding" in WSAC (arXiv 2309.12242).

Legend: M texts, B vectors, E dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from aural.core.errors import ConfigError
from aural.nn.functional import unit


class Memory(nn.Module):
    """x -> unit(sum of w_m t_m) with w = softmax(x . t_m / temperature) over the remembered rows t_m."""

    rows: Tensor

    def __init__(self, text: Tensor, temperature: float = 0.05) -> None:
        """Remember unit rows of texts (M, E)."""
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"temperature {temperature} is not above 0")
        self.register_buffer("rows", text)
        self.temperature = temperature

    def forward(self, audio: Tensor) -> Tensor:
        """Return unit rows (B, E)."""
        return unit((audio @ self.rows.T / self.temperature).softmax(-1) @ self.rows)
