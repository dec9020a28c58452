"""Two towers that meet in one space: the contrastive language-audio model.

Legend: B items, T samples, N frames, F mel bands, L tokens, E joint dimensions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

# Each import registers its encoder by name.
import aural.encoders.cnn9
import aural.encoders.cnn14
import aural.encoders.htsat
import aural.encoders.vit  # noqa: F401
from aural.audio.length import Shorter
from aural.audio.mel import LogMel, MelConfig
from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, build_audio_encoder
from aural.encoders.text import TextConfig, TextEncoder
from aural.nn.functional import unit
from aural.nn.projection import ProjectionKind, projection


class AudioConfig(Config):
    """The audio tower: the sound it takes, its front end, its encoder (by registered name) and its projection."""

    sample_rate_hz: int
    window_s: float
    """Length of one input; longer sounds are read in windows, shorter ones are filled by `shorter`."""
    shorter: Shorter = "repeat"
    mel: MelConfig
    encoder: str
    encoder_options: dict[str, Any] = Field(default_factory=dict)
    projection: ProjectionKind = "mlp"

    @field_validator("encoder")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in AUDIO_ENCODERS:
            raise ValueError(f"is not an audio encoder (known: {', '.join(AUDIO_ENCODERS)})")
        return name


class ClapConfig(Config):
    """A whole model. `embed_dim` is E; `fused` models take (B, 4, N, F) when a clip is longer than the window."""

    embed_dim: int
    audio: AudioConfig
    text: TextConfig
    text_projection: ProjectionKind = "mlp"
    logit_bias: bool = False
    """The learned bias of the sigmoid loss."""


class AudioTower(nn.Module):
    """Waveform (B, T) at the model's rate to embeddings (B, E), not normalized."""

    def __init__(self, config: AudioConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        self.front_end = LogMel(config.mel)
        self.encoder = build_audio_encoder(config.encoder, config.encoder_options)
        self.projection = projection(config.projection, self.encoder.dim, embed_dim)

    def forward(self, wave: Tensor) -> Tensor:
        return self.embed_mel(self.front_end(wave))

    def embed_mel(self, mel: Tensor, longer: Tensor | None = None) -> Tensor:
        """Log-mel (B, N, F) to (B, E); fused encoders also take (B, 4, N, F) with `longer` (B,) bool."""
        features = self.encoder(mel) if longer is None else self.encoder(mel, longer)
        return self.projection(features.pooled)


class TextTower(nn.Module):
    """Token ids and mask (B, L) to embeddings (B, E), not normalized."""

    def __init__(self, config: TextConfig, kind: ProjectionKind, embed_dim: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(config)
        self.projection = projection(kind, config.dim, embed_dim)

    def forward(self, ids: Tensor, mask: Tensor, last: Tensor | None = None) -> Tensor:
        return self.projection(self.encoder(ids, mask, last))


class Clap(nn.Module):
    """Both towers, the learned temperature (as a log) and, for sigmoid losses, the learned bias."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioTower(config.audio, config.embed_dim)
        self.text = TextTower(config.text, config.text_projection, config.embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if config.logit_bias:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, wave: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Unit embeddings (B, E) of both sides, the scale (not its log) and the bias if there is one."""
        out = {
            "audio_emb": unit(self.audio(wave)),
            "text_emb": unit(self.text(ids, mask)),
            "logit_scale": self.logit_scale.exp(),
        }
        return out | ({"logit_bias": self.logit_bias} if self.config.logit_bias else {})


def audio_layout(config: ClapConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the audio tower, without allocating it."""
    with torch.device("meta"):
        tower = AudioTower(config.audio, config.embed_dim)
    return {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}


def text_side_layout(config: ClapConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the text side, without importing transformers."""
    from aural.encoders.text import text_layout

    head = projection(config.text_projection, config.text.dim, config.embed_dim)
    names = {f"encoder.model.{name}": shape for name, shape in text_layout(config.text).items()}
    return names | {f"projection.{name}": tuple(tensor.shape) for name, tensor in head.state_dict().items()}


def layout(config: ClapConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of `Clap(config)`."""
    shapes: dict[str, tuple[int, ...]] = {"logit_scale": ()}
    if config.logit_bias:
        shapes["logit_bias"] = ()
    shapes |= {f"audio.{name}": shape for name, shape in audio_layout(config).items()}
    return shapes | {f"text.{name}": shape for name, shape in text_side_layout(config).items()}
