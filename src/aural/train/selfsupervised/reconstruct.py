"""Restore frames of the front end: hidden groups of patches, or future frames."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.nn.masking import patch_mask
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step
from aural.train.selfsupervised.tokenizer import stacked

Count = Annotated[int, Field(ge=1)]


class ReconstructConfig(Config):
    """Options of the restoration of hidden patches."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the spectrogram that is hidden."""
    block_frames: Count = 12
    block_bands: Count = 16


@PRETEXTS.register("reconstruct")
class Reconstruct(Pretext):
    """Restore groups of patches that were replaced by zeros, the mean of a band: the mean absolute error on them.

    Source: Atito et al. 2022, ASiT (arXiv 2211.13189), section 3.1.
    """

    config_type = ReconstructConfig
    config: ReconstructConfig

    def __init__(self, config: ReconstructConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = nn.Linear(shape.encoder.dim, shape.bands * shape.encoder.stride)

    def forward(self, step: Step) -> Outcome:
        frames = step.encoder.normalized(step.frames).detach()
        hidden = hide(frames, self.config)
        states = step.encoder.context(step.encoder.latents(frames.masked_fill(hidden, 0.0)))[-1]
        stride = step.encoder.config.stride
        error = (self.head(states) - stacked(step.frames, stride).detach()).abs()
        where = hidden[:, : error.shape[1] * stride].unflatten(1, (-1, stride)).flatten(2).float()
        per_clip = (error * where).sum((1, 2)) / where.sum((1, 2)).clamp(min=1)
        return Outcome(per_clip.mean(), per_clip)


def hide(frames: Tensor, config: ReconstructConfig) -> Tensor:
    """Return which values of frames (B, N, F) are hidden."""
    block = (config.block_frames, config.block_bands)
    return patch_mask(*frames.shape, share=config.share, block=block, device=frames.device)


class FutureConfig(Config):
    """Options of the prediction of future frames."""

    ahead: Count = 3
    """Tokens between the last one seen and the predicted one."""


@PRETEXTS.register("future-frames")
class FutureFrames(Pretext):
    """Predict the frames of a later token by regression: the mean absolute error; the encoder must be causal.

    Source: Chung et al. 2019, autoregressive predictive coding (arXiv 1904.03240), equation 1.
    """

    config_type = FutureConfig
    config: FutureConfig

    def __init__(self, config: FutureConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = nn.Linear(shape.encoder.dim, shape.bands * shape.encoder.stride)

    def forward(self, step: Step) -> Outcome:
        ahead = self.config.ahead
        targets = stacked(step.frames, step.encoder.config.stride).detach()[:, ahead:]
        per_clip = (self.head(step.layers[-1][:, :-ahead]) - targets).abs().mean((1, 2))
        return Outcome(per_clip.mean(), per_clip)
