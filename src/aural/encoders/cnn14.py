"""CNN14 of PANNs: six blocks of two 3 x 3 convolutions on the log-mel. Kong et al. (2020), arXiv 1912.10211.

Legend: B clips, N frames, F mel bands, D = out_dim features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, AudioFeatures
from aural.nn.conv import ConvBlock
from aural.nn.fusion import AttentionalFusion


class Cnn14Config(Config):
    """`out_dim` is D, the width of the features."""

    n_mels: int = 64
    out_dim: int = 2048
    fusion: bool = False
    """LAION's feature fusion: a second first layer reads three 10 s pieces of a longer clip."""


@AUDIO_ENCODERS.register("cnn14", modality="audio", architecture="convolution", input="log-mel")
class Cnn14(AudioEncoder):
    """A 6-block CNN on log-mel (B, N, F), or with fusion on (B, 4, N, F): the shrunk clip and three pieces of it."""

    config_type = Cnn14Config
    layer_channels = 1
    token_frames = 32
    reach_frames = 2 * (1 + 2 + 4 + 8 + 16 + 32) + 32  # two convolutions of 3 at each of six scales, and one token

    def __init__(self, config: Cnn14Config) -> None:
        super().__init__()
        self.config, self.dim = config, config.out_dim
        widths = (1, 64, 128, 256, 512, 1024, 2048)
        self.bn0 = nn.BatchNorm2d(config.n_mels)
        for i in range(1, 7):
            self.add_module(f"conv_block{i}", ConvBlock(widths[i - 1], widths[i], pool=2 if i < 6 else 1, kind="avg"))
        self.fc1 = nn.Linear(2048, config.out_dim)
        if config.fusion:
            conv = nn.Conv2d(1, 64, 5, stride=(6, 2), padding=2)
            self.mel_conv2d = nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU())
            self.fusion_model = AttentionalFusion(64)

    def forward(self, mel: Tensor, longer: Tensor | None = None, *, layers: bool = False) -> AudioFeatures:
        """Return the features; `longer` (B,) marks clips whose pieces are fused, layers: maps (B, C, N', F')."""
        mel = mel[:, None] if mel.ndim == 3 else mel
        if mel.shape[3] != self.config.n_mels or mel.shape[2] < 32:
            raise ValueError(f"mel {tuple(mel.shape)}: give at least 32 frames of {self.config.n_mels} bands")
        mel = self.bn0(mel.transpose(1, 3)).transpose(1, 3)
        x = self.get_submodule("conv_block1")(mel[:, :1])  # (B, 64, N / 2, F / 2)
        if self.config.fusion and longer is not None and bool(longer.any()):
            x = x.index_put((longer,), self._fuse(x[longer], mel[longer, 1:]))
        maps = [x]
        for i in range(2, 7):
            x = nn.functional.dropout(x, 0.2, self.training)
            x = self.get_submodule(f"conv_block{i}")(x)
            maps.append(x)
        x = nn.functional.dropout(x, 0.2, self.training).mean(3)  # (B, 2048, N / 32)
        pooled = nn.functional.dropout(x.amax(2) + x.mean(2), 0.5, self.training)
        near = nn.functional.max_pool1d(x, 3, 1, 1) + nn.functional.avg_pool1d(x, 3, 1, 1)
        pooled, tokens = self.fc1(pooled).relu(), self.fc1(near.transpose(1, 2)).relu()
        pooled = nn.functional.dropout(pooled, 0.5, self.training)
        tokens = nn.functional.dropout(tokens, 0.5, self.training)
        return AudioFeatures(pooled, tokens, layers=tuple(maps) if layers else None)

    def _fuse(self, x: Tensor, pieces: Tensor) -> Tensor:
        """Fuse x (B', 64, N / 2, F / 2) with coarse maps of the `pieces` (B', 3, N, F), joined along time."""
        y = self.mel_conv2d(pieces.flatten(0, 1)[:, None])  # (3 B', 64, ~N / 6, F / 2)
        y = y.unflatten(0, (-1, 3)).transpose(1, 2).flatten(2, 3)[:, :, : x.shape[2]]
        y = torch.nn.functional.pad(y, (0, 0, 0, x.shape[2] - y.shape[2]))
        return self.fusion_model(x, y)
