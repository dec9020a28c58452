"""A prefix of two parts: one from the vector of the sound, one from its frames in the order of time.

Kim et al. 2023, "Prefix tuning for automated audio captioning" (arXiv 2303.17489): a mapping network for
global and one for temporal features, whose prefixes are joined.

Legend: B sounds, T frames, F their width, E dimensions of the vector, P positions, W width of the decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from aural.nn.bridges.mapper import MapperConfig, mapper


class TemporalMapper(nn.Module):
    """The prefix of `mapper` and then `segments` positions, each a projection of the mean frame of an equal part."""

    def __init__(self, config: MapperConfig, frame_dim: int, segments: int) -> None:
        super().__init__()
        self.segments = segments
        self.vector = mapper(config)
        self.frames = nn.Sequential(
            nn.Linear(frame_dim, config.d_out), nn.Tanh(), nn.Linear(config.d_out, config.d_out)
        )
        self.place = nn.Parameter(torch.zeros(segments, config.d_out))

    def forward(self, vector: Tensor, frames: Tensor) -> Tensor:
        """Return prefixes (B, P + segments, W) of vectors (B, E) and frames (B, T, F)."""
        parts = adaptive_avg_pool1d(frames.transpose(1, 2), self.segments).transpose(1, 2)  # (B, segments, F)
        return torch.cat([self.vector(vector), self.frames(parts) + self.place], dim=1)
