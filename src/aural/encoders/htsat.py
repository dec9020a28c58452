"""HTS-AT: a Swin transformer on a folded log-mel image. Chen et al. (2022), arXiv 2202.00874.

The log-mel (N <= 1024 frames, 64 bands) is stretched to 1024 frames, cut into 4 pieces of 256 frames which are stacked
along frequency into a 256 x 256 image, and read in 4 x 4 patches by four Swin stages.

Legend: B clips, N frames, F mel bands, S image side, r = S / F pieces, D = embed_dim * 8 features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, AudioFeatures
from aural.nn.droppath import DropPath
from aural.nn.fusion import AttentionalFusion
from aural.nn.window import WindowAttention, shift_mask, window_order


class HtsatConfig(Config):
    """Sizes of HTS-AT; the defaults are "tiny".

    tiny: embed_dim 96, depths 2-2-6-2 (msclap 2023, LAION HTSAT-tiny); base: 128, 2-2-12-2; large: 256, 2-2-12-2.
    """

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 8
    mlp_ratio: float = 4.0
    image_side: int = 256
    patch: int = 4
    n_mels: int = 64
    drop_path: float = 0.1
    fusion: bool = False
    """LAION's feature fusion: a second, coarse patch embedding reads three 10 s pieces of a longer clip."""


class Block(nn.Module):
    """A Swin block: window attention and an MLP on a token grid (B, H, W, C)."""

    def __init__(self, dim: int, heads: int, window: int, shift: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window)
        self.norm2 = nn.LayerNorm(dim)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C)
        B, H, W, C = x.shape
        shift = self.shift if min(H, W) > self.window else 0
        if self.attn.kernel is not None:
            return self._second(x + self.drop_path(self.attn.on_grid(self.norm1(x), shift)))
        order, inverse = (index.to(x.device) for index in window_order(H, W, self.window, shift))
        mask = shift_mask(H, W, self.window, shift).to(x.device) if shift else None
        y = self.norm1(x).flatten(1, 2).index_select(1, order)  # (B, H W, C), window by window
        y = self.attn(y.view(-1, self.window**2, C), mask).view(B, H * W, C)
        return self._second(x + self.drop_path(y.index_select(1, inverse).view(B, H, W, C)))

    def _second(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x)))))


class PatchMerging(nn.Module):
    """Merges 2 x 2 neighboring tokens into one of twice the width."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)
        return self.reduction(self.norm(x))


class Stage(nn.Module):
    """Swin blocks of one width, followed by a `PatchMerging` except in the last stage."""

    def __init__(self, config: HtsatConfig, i: int, drop_path: list[float]) -> None:
        super().__init__()
        dim = config.embed_dim * 2**i
        self.blocks = nn.ModuleList(
            Block(dim, config.heads[i], config.window, config.window // 2 * (j % 2), config.mlp_ratio, drop_path[j])
            for j in range(config.depths[i])
        )
        self.downsample = PatchMerging(dim) if i + 1 < len(config.depths) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class PatchEmbed(nn.Module):
    """Embeds an image (B, 1, S, S) as tokens (B, S / p, S / p, C); with fusion, pieces are fused where `longer`."""

    def __init__(self, config: HtsatConfig) -> None:
        super().__init__()
        p, dim = config.patch, config.embed_dim
        self.proj = nn.Conv2d(1, dim, p, stride=p)
        self.norm = nn.LayerNorm(dim)
        if config.fusion:
            self.mel_conv2d = nn.Conv2d(1, dim, (p, 3 * p), stride=(p, 3 * p))
            self.fusion_model = AttentionalFusion(dim)

    def forward(self, image: Tensor, local: Tensor | None, longer: Tensor | None) -> Tensor:
        if self.training and local is None:
            x = self._patches(image)
            return self.norm(x).to(x.dtype)  # under autocast, blocks then add in the narrow type and move fewer bytes
        x = self.proj(image)  # (B, C, H, W)
        if local is not None and longer is not None and bool(longer.any()):
            pieces = local[longer].flatten(0, 1)[:, None]  # (B', 3, S, S) -> (3 B', 1, S, S)
            y = self.mel_conv2d(pieces)  # (3 B', C, H, W / 3)
            y = y.unflatten(0, (-1, 3)).permute(0, 2, 3, 1, 4).flatten(3)  # (B', C, H, 3 (W // 3))
            y = nn.functional.pad(y, (0, x.shape[-1] - y.shape[-1]))
            x = x.index_put((longer,), self.fusion_model(x[longer], y))
        return self.norm(x.permute(0, 2, 3, 1))

    def _patches(self, image: Tensor) -> Tensor:
        """Compute `proj` as one matrix product with output (B, H, W, C); faster forward and backward in training."""
        p = self.proj.kernel_size[0]
        B, _, S, T = image.shape
        patches = image.view(B, S // p, p, T // p, p).transpose(2, 3).flatten(3)  # (B, H, W, p p)
        return nn.functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


@AUDIO_ENCODERS.register("htsat", modality="audio", architecture="windowed transformer", input="log-mel")
class Htsat(AudioEncoder):
    """HTS-AT on log-mel (B, N, F), or with fusion on (B, 4, N, F): the shrunk clip and three pieces of it."""

    config_type = HtsatConfig

    def __init__(self, config: HtsatConfig) -> None:
        super().__init__()
        self.config = config
        stages = len(config.depths)
        self.dim = config.embed_dim * 2 ** (stages - 1)
        self.pieces = config.image_side // config.n_mels
        self.full_frames = self.max_frames = config.image_side * self.pieces
        rates = torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").tolist()
        starts = [sum(config.depths[:i]) for i in range(stages)]
        self.bn0 = nn.BatchNorm2d(config.n_mels)
        self.patch_embed = PatchEmbed(config)
        self.layers = nn.ModuleList(Stage(config, i, rates[starts[i] :]) for i in range(stages))
        self.norm = nn.LayerNorm(self.dim)
        self.apply(_init)

    def image(self, mel: Tensor) -> Tensor:
        """Return the image (B, K, S, S) of log-mel (B, K, N, F).

        The log-mel is stretched to full length (bicubic); pieces of time are then stacked along frequency.
        """
        B, K, N, F = mel.shape
        if N < self.full_frames:
            mel = nn.functional.interpolate(mel, (self.full_frames, F), mode="bicubic", align_corners=True)
        mel = mel.view(B, K, self.pieces, -1, F)  # (B, K, r, S, F): r pieces of S frames
        return mel.permute(0, 1, 2, 4, 3).reshape(B, K, self.pieces * F, -1)

    def _image(self, mel: Tensor) -> Tensor:
        """Return image(bn0(mel)) for training, without a gradient through the stretch.

        The stretch keeps constants, so bn0's scale and offset can be applied after it.
        """
        bn = self.bn0
        if type(bn) is not nn.BatchNorm2d:  # synchronized over processes
            return self.image(bn(mel.transpose(1, 3)).transpose(1, 3))
        if bn.training and bn.num_batches_tracked is not None:
            bn.num_batches_tracked.add_(1)
        momentum = 1 / float(bn.num_batches_tracked or 1) if bn.momentum is None else bn.momentum
        flat = nn.functional.batch_norm(
            mel.transpose(1, 3), bn.running_mean, bn.running_var, None, None, bn.training, momentum, bn.eps
        )
        image = self.image(flat.transpose(1, 3))  # (B, K, r F, S): band f of each piece
        weight, bias = (p.repeat(self.pieces)[:, None] for p in (bn.weight, bn.bias))
        return image * weight + bias

    def forward(self, mel: Tensor, longer: Tensor | None = None, *, layers: bool = False) -> AudioFeatures:
        """Return the features; `longer` (B,) marks clips whose pieces are fused, layers: grids (B, H, W, C)."""
        mel = mel[:, None] if mel.ndim == 3 else mel  # (B, K, N, F)
        if mel.shape[2] > self.full_frames or mel.shape[3] != self.config.n_mels:
            raise ValueError(
                f"mel {tuple(mel.shape)}: give at most {self.full_frames} frames of {self.config.n_mels} bands"
            )
        image = self.image(self.bn0(mel.transpose(1, 3)).transpose(1, 3)) if not self.training else self._image(mel)
        x = self.patch_embed(image[:, :1], image[:, 1:] if self.config.fusion else None, longer)
        grids: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            grids.append(x)
        x = self.norm(x)  # (B, H, W, D), H = pieces x rows
        x = x.unflatten(1, (self.pieces, -1))  # (B, r, rows, W, D)
        tokens = x.mean(2).flatten(1, 2)  # (B, r W, D), in order of time
        return AudioFeatures(tokens.mean(1), tokens, layers=tuple(grids) if layers else None)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
