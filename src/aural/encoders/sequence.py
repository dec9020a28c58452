"""An encoder of frames in order: local latents, then a context network, for self-supervised learning of sounds.

Legend: B clips, N input frames, F bands, T = N // stride tokens, D width.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, AudioFeatures

Count = Annotated[int, Field(ge=1)]
Context = Literal["transformer", "causal-transformer", "causal-convolution", "two-ways", "recurrent"]
KERNEL = 15


class SequenceConfig(Config):
    """Sizes of the encoder and the kind of its context network."""

    n_mels: Count = 64
    dim: Count = 96
    depth: Count = 3
    heads: Count = 4
    hidden_dim: Count = 192
    stride: Count = 2
    """Input frames per token."""
    context: Context = "transformer"
    """two-ways: a causal convolution in each direction of time, each of half the width."""


class CausalConvolutions(nn.Module):
    """Residual convolutions of kernel 3 that see the present and the past only: (B, T, D) to layers of (B, T, D)."""

    def __init__(self, dim: int, depth: int, *, backward: bool = False) -> None:
        super().__init__()
        self.backward = backward
        self.convs = nn.ModuleList(nn.Conv1d(dim, dim, 3, dilation=2 ** min(i, 2)) for i in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = x.flip(1) if self.backward else x
        layers = []
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            past = nn.functional.pad(norm(x).transpose(1, 2), (2 * 2 ** min(i, 2), 0))
            x = x + conv(past).transpose(1, 2).relu()
            layers.append(x.flip(1) if self.backward else x)
        return layers


class Attention(nn.Module):
    """Transformer layers with a convolution as positions: (B, T, D) to layers of (B, T, D)."""

    def __init__(self, config: SequenceConfig, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.positions = nn.Conv1d(config.dim, config.dim, KERNEL, groups=4 if config.dim % 4 == 0 else 1)
        self.norm = nn.LayerNorm(config.dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.heads, config.hidden_dim, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        before = KERNEL - 1 if self.causal else KERNEL // 2
        near = nn.functional.pad(x.transpose(1, 2), (before, KERNEL - 1 - before))
        x = self.norm(x + nn.functional.gelu(self.positions(near)).transpose(1, 2))
        T = x.shape[1]
        mask = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        layers = []
        for layer in self.layers:
            x = layer(x, src_mask=mask)
            layers.append(x)
        return layers


class TwoWays(nn.Module):
    """Causal convolutions in both directions of time, concatenated: (B, T, D) to layers of (B, T, D)."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        half = config.dim // 2
        self.narrow = nn.Linear(config.dim, half)
        self.forth = CausalConvolutions(half, config.depth)
        self.back = CausalConvolutions(half, config.depth, backward=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.narrow(x)
        return [torch.cat(pair, -1) for pair in zip(self.forth(x), self.back(x), strict=True)]


class Recurrent(nn.Module):
    """A gated recurrent unit: (B, T, D) to one layer (B, T, D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.unit = nn.GRU(dim, dim, batch_first=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.unit(x)[0]]


@AUDIO_ENCODERS.register("sequence", modality="audio", architecture="transformer", input="log-mel")
class SequenceEncoder(AudioEncoder):
    """Log-mel or other frames (B, N, F) to latents of their neighborhood and to layers of a context network.

    Input bands are normalized to mean 0 and deviation 1 over the clip. A convolution of `2 stride` frames gives the
    latents. Masked tokens are replaced by a learned vector before the context network.

    Source: the division of wav2vec 2.0 (arXiv 2006.11477), section 2, at a small size.
    """

    config_type = SequenceConfig
    optional = ("mask_vector",)

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        self.conv = nn.Conv1d(config.n_mels, config.dim, 2 * config.stride, config.stride)
        self.norm = nn.LayerNorm(config.dim)
        self.mask_vector = nn.Parameter(0.1 * torch.randn(config.dim))
        self.network = _network(config)

    def latents(self, x: Tensor) -> Tensor:
        """Return the latents (B, T, D) of frames (B, N, F)."""
        stride, bands = self.config.stride, self.config.n_mels
        if x.shape[2] != bands or x.shape[1] < stride:
            raise ValueError(
                f"input {tuple(x.shape)} must be (B, N, {bands}) with N >= {stride}, frames of {bands} bands"
            )
        x = self.normalized(x).transpose(1, 2)[..., : x.shape[1] // stride * stride]
        padded = nn.functional.pad(x, (stride // 2, stride - stride // 2))
        out: Tensor = self.norm(nn.functional.gelu(self.conv(padded)).transpose(1, 2))
        return out

    @staticmethod
    def normalized(x: Tensor) -> Tensor:
        """Return frames (B, N, F) with mean 0 and deviation 1 per band."""
        return (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-3)

    def context(self, latents: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Return the layers (B, T, D), first to last, of latents (B, T, D); the mask (B, T) hides tokens."""
        if mask is not None:
            latents = torch.where(mask[..., None], self.mask_vector.to(latents), latents)
        layers: list[Tensor] = self.network(latents)
        return layers

    def forward(self, mel: Tensor, *, layers: bool = False) -> AudioFeatures:
        latents = self.latents(mel)
        outputs = self.context(latents)
        tokens = outputs[-1]
        return AudioFeatures(tokens.mean(1), tokens, None, (latents, *outputs) if layers else None)


def _network(config: SequenceConfig) -> nn.Module:
    if config.context == "two-ways":
        return TwoWays(config)
    if config.context == "recurrent":
        return Recurrent(config.dim)
    if config.context == "causal-convolution":
        return CausalConvolutions(config.dim, config.depth)
    return Attention(config, causal=config.context == "causal-transformer")
