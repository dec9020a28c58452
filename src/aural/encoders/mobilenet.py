"""MobileNet v1 on patches of a log-mel: the network of YAMNet.

Howard et al. (2017), arXiv 1704.04861; tensorflow/models research/audioset/yamnet. BatchNorm is
folded into the convolutions, as in the published file.

Legend: B clips, N frames, F mel bands, P patches, C channels, D = 1024 features.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.encoders.base import AUDIO_ENCODERS, AudioEncoder, AudioFeatures
from aural.nn.steps import Grid, on_grid, rescale, through

# Output channels and stride of the depthwise separable blocks after the first convolution (32 channels, stride 2).
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
RELU6 = Grid(6 / 255, -128)


class MobilenetConfig(Config):
    """Settings of the patches and the arithmetic."""

    n_mels: int = 64
    patch_frames: int = Field(default=96, ge=32)
    blocks: int = Field(default=len(BLOCKS), ge=1, le=len(BLOCKS))
    """Depthwise separable blocks after the first convolution; the first ones of the published network."""
    hop_frames: int = Field(default=48, gt=0)
    """Frames from one patch to the next; frames after the last whole patch are not read."""
    floor: float | None = None
    """Log-mel of digital silence. Patches that are nowhere above it do not count in the mean, unless all are silent."""
    arithmetic: Literal["float", "int8"] = "float"
    """int8 rounds activations to the steps that the published file's integer network has; float does not."""
    grids: dict[str, tuple[float, int]] = Field(default_factory=dict)
    """For int8: step and zero point of "input", of the mean "pooled", and of layers that differ from ReLU6's."""


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME, then ReLU6; with grids, in the arithmetic of an integer network."""

    def __init__(self, c_in: int, c_out: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride=stride, groups=groups)
        self.grids: tuple[Grid, Grid] | None = None
        """Of the input and the output."""

    def forward(self, x: Tensor) -> Tensor:
        pads = [self._pad(x.shape[axis]) for axis in (3, 2)] if self.kernel_size[0] > 1 else []
        if pads == [(1, 1), (1, 1)] and self.grids is None:  # as many zeros on all sides: the convolution adds them
            y = nn.functional.conv2d(x, self.weight, self.bias, self.stride, 1, groups=self.groups)
        else:
            if pads:
                x = nn.functional.pad(x, (*pads[0], *pads[1]))
            y = super().forward(x)
        y = nn.functional.relu6(y, inplace=not y.requires_grad)
        return y if self.grids is None else through(y, self._integers(x, *self.grids))

    def _integers(self, x: Tensor, before: Grid, after: Grid) -> Tensor:
        """Return the output that int8 tensors and int32 sums give; float64 holds these sums exactly."""
        weight = self.weight.detach().double()
        step = (weight.abs().amax((1, 2, 3)) / 127).float().double()  # per output channel, as the file has it
        bias = None if self.bias is None else (self.bias.detach().double() / (before.step * step)).round()
        sums = nn.functional.conv2d(
            (x.detach().double() / before.step).round(),
            (weight / step[:, None, None, None]).round(),
            bias,
            self.stride,
            groups=self.groups,
        )
        n = rescale(sums, (before.step * step / after.step)[:, None, None])
        return n.clamp(0, 127 - after.zero) * after.step

    def _pad(self, size: int) -> tuple[int, int]:
        """Return the zeros before and after: for an even size and stride 2 they are 0 and 1."""
        total = 1 if self.stride[0] == 2 and size % 2 == 0 else 2
        return total // 2, total - total // 2


@AUDIO_ENCODERS.register("mobilenet", modality="audio", architecture="convolution", input="log-mel")
class Mobilenet(AudioEncoder):
    """27 convolutions (13 blocks) on patches (96, F); tokens are the patches' features, pooled their mean."""

    config_type = MobilenetConfig
    layer_channels = 2

    def __init__(self, config: MobilenetConfig) -> None:
        super().__init__()
        blocks = BLOCKS[: config.blocks]
        self.config, self.dim = config, blocks[-1][0]
        layers: dict[str, Same] = {"stem": Same(1, 32, stride=2)}
        width = 32
        for i, (channels, stride) in enumerate(blocks):
            layers[f"depthwise{i}"] = Same(width, width, stride=stride, groups=width)
            layers[f"pointwise{i}"] = Same(width, channels, kernel=1)
            width = channels
        self.layers = nn.ModuleDict(layers)
        self.input_grid = self.pooled_grid = None
        if config.arithmetic == "int8":
            grids = {name: Grid(*grid) for name, grid in config.grids.items()}
            before = self.input_grid = grids.get("input", RELU6)
            for name, layer in layers.items():
                layer.grids = before, grids.get(name, RELU6)
                before = layer.grids[1]
            self.pooled_grid = grids.get("pooled", RELU6)
            self.last_grid = before

    def forward(self, mel: Tensor, *, layers: bool = False) -> AudioFeatures:
        """Return the features of log-mel (B, N, F); layers: the maps (B, P, C, N', F') after each block."""
        config = self.config
        if mel.shape[-1] != config.n_mels or mel.shape[1] < config.patch_frames:
            raise ValueError(
                f"mel {tuple(mel.shape)}: give at least {config.patch_frames} frames of {config.n_mels} bands"
            )
        x = self.patches(mel).flatten(0, 1)[:, None]  # (B P, 1, 96, F)
        if self.input_grid is not None:
            x = on_grid(x, self.input_grid)
        maps: list[Tensor] = []
        for name, layer in self.layers.items():
            x = layer(x)
            if layers and not name.startswith("depthwise"):
                maps.append(x.unflatten(0, (mel.shape[0], -1)))
        x = self.pool(x)
        tokens = x.unflatten(0, (mel.shape[0], -1))  # (B, P, D)
        return AudioFeatures(self._mean(tokens, mel), tokens, layers=tuple(maps) if layers else None)

    def _mean(self, tokens: Tensor, mel: Tensor) -> Tensor:
        """Return the mean (B, D) of the features (B, P, D) of patches that are not silent."""
        if self.config.floor is None:
            return tokens.mean(1)
        heard = (self.patches(mel).amax((2, 3)) > self.config.floor + 0.01).to(tokens.dtype)  # (B, P)
        weight = torch.where(heard.sum(1, keepdim=True) > 0, heard, 1.0)
        return (tokens * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)

    def fold(self) -> None:
        """Store the weights channels last, for faster inference with oneDNN; the integer network is unchanged."""
        if self.config.arithmetic == "float":
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pool(self, x: Tensor) -> Tensor:
        """Return the mean (B, C) of maps (B, C, N, F).

        The integer kernel scales the sum of n, not of n - zero, and adds the rounded product of zero, so that a mean is
        rounded up from a fraction of about 0.26, not 0.5.
        """
        mean = x.mean((2, 3))
        if self.pooled_grid is None:
            return mean
        ratio = torch.tensor(self.last_grid.step / self.pooled_grid.step, dtype=torch.float64, device=x.device)
        zero, size = self.last_grid.zero, x.shape[2] * x.shape[3]
        sums = (x.detach().double() / self.last_grid.step).round().sum((2, 3)) + size * zero
        n = rescale(sums, ratio / size) - (ratio * zero).round()
        return through(mean, n.clamp(0, 127 - self.pooled_grid.zero) * self.pooled_grid.step)

    def patches(self, mel: Tensor) -> Tensor:
        """Cut log-mel (B, N, F) into patches (B, P, 96, F)."""
        size, hop = self.config.patch_frames, self.config.hop_frames
        starts = range(0, mel.shape[1] - size + 1, hop)
        return torch.stack([mel[:, start : start + size] for start in starts], dim=1)
