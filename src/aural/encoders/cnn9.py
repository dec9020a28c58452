"""The 4-block CNN (9 layers with its head) of DCASE 2018's cross-task baseline, as aiSFX uses it for sound effects.

Kong et al. (2018), arXiv 1808.00773; Ma et al. (2022), "Representation Learning for the Automatic Indexing of Sound
Effects Libraries". Legend: B clips, N frames, F mel bands, D = 8 * width features.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import max_pool1d

from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, AudioFeatures
from aural.nn.conv import ConvBlock

NEAR = 5
"""Tokens whose maximum is a frame's features; the frame is the middle one. Chosen on validation scenes."""


class Cnn9Config(Config):
    """`width` is the number of channels of the first block; it doubles in each block."""

    n_mels: int = 96
    width: int = 64


@AUDIO_ENCODERS.register("cnn9", modality="audio", architecture="convolution", input="log-mel")
class Cnn9(AudioEncoder):
    """A 4-block CNN; features are the mean over frequency, pooled by the maximum over time."""

    config_type = Cnn9Config
    layer_channels = 1
    token_frames = 8
    reach_frames = 2 * (1 + 2 + 4 + 8) + NEAR // 2 * 8  # two convolutions of 3 at each of four scales, and the pooling

    def __init__(self, config: Cnn9Config) -> None:
        super().__init__()
        self.config, self.dim = config, 8 * config.width
        widths = (1, config.width, 2 * config.width, 4 * config.width, 8 * config.width)
        for i in range(1, 5):
            self.add_module(f"conv_block{i}", ConvBlock(widths[i - 1], widths[i], pool=2 if i < 4 else 1, kind="max"))

    def forward(self, mel: Tensor, *, layers: bool = False) -> AudioFeatures:
        """Return the features of log-mel (B, N, F); layers: the maps (B, C, N', F') after each block."""
        if mel.shape[-1] != self.config.n_mels or mel.shape[1] < 8:
            raise ValueError(f"mel {tuple(mel.shape)}: give at least 8 frames of {self.config.n_mels} bands")
        x = mel[:, None]
        maps: list[Tensor] = []
        for block in self.children():
            x = block(x)
            maps.append(x)
        tokens = x.mean(3).transpose(1, 2)  # (B, N / 8, D)
        return AudioFeatures(tokens.amax(1), tokens, layers=tuple(maps) if layers else None)

    def frames(self, mel: Tensor) -> Tensor:
        """Return the maximum of `NEAR` neighboring tokens around each token (B, N / 8, D)."""
        tokens = self(mel).tokens.transpose(1, 2)
        return max_pool1d(tokens, NEAR, 1, NEAR // 2).transpose(1, 2)
