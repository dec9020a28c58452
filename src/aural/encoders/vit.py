"""A plain transformer on spectrogram patches: the shapes of AST, BEATs and M2D in one file, with a masked-input path.

Gong et al. (2021), AST, arXiv 2104.01778; Chen et al. (2022), BEATs, arXiv 2212.09058; Niizumi et al. (2023), M2D,
arXiv 2210.14648; Dosovitskiy et al. (2021), ViT.

Legend: B clips, N frames, F mel bands, T x Q grid of patches (time, frequency), P = T Q patches, D features.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, AudioFeatures
from aural.nn.droppath import DropPath


class VitConfig(Config):
    """Sizes of the transformer.

    AST: patch 16 x 16, stride 10, pool "cls". BEATs and M2D: patch 16 x 16, stride 16, pool "mean".
    """

    n_mels: int = 64
    patch_frames: int = 16
    patch_mels: int = 16
    stride_frames: int = 16
    stride_mels: int = 16
    dim: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    max_frames: int = 1024
    pool: Literal["mean", "cls"] = "mean"


class TransformerBlock(nn.Module):
    """A pre-norm transformer block on tokens (B, P, D); `eps` is that of its normalization."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float, drop_path: float, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = nn.Sequential(nn.Linear(dim, int(dim * mlp_ratio)), nn.GELU(), nn.Linear(int(dim * mlp_ratio), dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the tokens; `mask` (B, 1, 1, P) is true for tokens that are attended to."""
        B, P, D = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, P, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(B, P, D)
        x = x + self.drop_path(self.proj(y))
        return x + self.drop_path(self.mlp(self.norm2(x)))


@AUDIO_ENCODERS.register("vit", modality="audio", architecture="transformer", input="log-mel")
class Vit(AudioEncoder):
    """A transformer on patches of log-mel (B, N, F), N <= max_frames, with learned time and frequency positions."""

    config_type = VitConfig
    masks_padding = True
    optional = ("mask_token",)

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config, self.dim, self.max_frames = config, config.dim, config.max_frames
        kernel = (config.patch_frames, config.patch_mels)
        self.stride = (config.stride_frames, config.stride_mels)
        self.patch_embed = nn.Conv2d(1, config.dim, kernel, stride=self.stride)
        T, Q = self.grid(config.max_frames)
        self.time_position = nn.Parameter(torch.zeros(T, 1, config.dim))
        self.mel_position = nn.Parameter(torch.zeros(1, Q, config.dim))
        self.cls = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.mask_token = nn.Parameter(torch.zeros(config.dim))
        rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.heads, config.mlp_ratio, rate) for rate in rates
        )
        self.norm = nn.LayerNorm(config.dim)
        for parameter in (self.time_position, self.mel_position, self.cls, self.mask_token):
            nn.init.trunc_normal_(parameter, std=0.02)

    def grid(self, frames: int) -> tuple[int, int]:
        """Return (T, Q), the numbers of patches along time and frequency of a clip of `frames` frames."""
        c = self.config
        return (frames - c.patch_frames) // c.stride_frames + 1, (c.n_mels - c.patch_mels) // c.stride_mels + 1

    def patches(self, mel: Tensor) -> Tensor:
        """Return the embedded patches (B, T, Q, D) with positions added."""
        c = self.config
        if not c.patch_frames <= mel.shape[1] <= c.max_frames or mel.shape[2] != c.n_mels:
            raise ValueError(
                f"mel {tuple(mel.shape)}: {c.patch_frames} to {c.max_frames} frames of {c.n_mels} bands are accepted"
            )
        x = self.patch_embed(mel[:, None]).permute(0, 2, 3, 1)
        return x + self.time_position[: x.shape[1]] + self.mel_position

    def encode(self, tokens: Tensor, layers: list[Tensor] | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return tokens (B, P, D) after all blocks, class token first: (B, 1 + P, D).

        layers: a list to which the output of each block (B, 1 + P, D) is appended. mask: (B, P), true for tokens that
        are no padding.
        """
        x = torch.cat([self.cls.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        attended = None if mask is None else nn.functional.pad(mask, (1, 0), value=True)[:, None, None]
        for block in self.blocks:
            x = block(x, attended)
            if layers is not None:
                layers.append(x)
        return self.norm(x)

    def encode_visible(self, mel: Tensor, visible: Tensor) -> Tensor:
        """Encode only the patches with indices `visible` (B, V), as M2D and MAE do; return (B, 1 + V, D)."""
        x = self.patches(mel).flatten(1, 2)
        return self.encode(x.gather(1, visible[..., None].expand(-1, -1, x.shape[-1])))

    def forward(
        self, mel: Tensor, masked: Tensor | None = None, *, frames: Tensor | None = None, layers: bool = False
    ) -> AudioFeatures:
        """Return the features.

        masked: (B, P), patches to replace by the mask token, as in BEATs and BERT. frames: (B,), valid frames of each
        clip of a padded batch; patches beyond them are neither attended to nor pooled.
        """
        x = self.patches(mel)
        B, T, Q, D = x.shape
        if masked is not None:
            position = (self.time_position[:T] + self.mel_position).expand(B, T, Q, D)
            x = torch.where(masked.view(B, T, Q, 1), self.mask_token + position, x)
        outputs: list[Tensor] | None = [] if layers else None
        valid = None  # (B, T)
        if frames is not None:
            columns = (frames - self.config.patch_frames) // self.config.stride_frames + 1
            valid = torch.arange(T, device=x.device) < columns[:, None]
        mask = None if valid is None else valid.repeat_interleave(Q, 1)
        y = self.encode(x.flatten(1, 2), outputs, mask=mask)
        tokens = y[:, 1:].view(B, T, Q, D).mean(2)
        pooled = y[:, 0] if self.config.pool == "cls" else mean_over(tokens, valid)
        return AudioFeatures(pooled, tokens, valid, layers=None if outputs is None else tuple(outputs))


def mean_over(tokens: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean (B, D) of tokens (B, T, D) over time, where `valid` (B, T) is true."""
    if valid is None:
        return tokens.mean(1)
    weight = valid[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)
