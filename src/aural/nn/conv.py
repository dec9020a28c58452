"""The convolution block of PANNs and the encoders derived from it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBlock(nn.Module):
    """Two times 3 x 3 convolution, BatchNorm and ReLU, then pooling: (B, C_in, N, F) to (B, C_out, N / p, F / p)."""

    def __init__(self, c_in: int, c_out: int, pool: int, kind: Literal["avg", "max"]) -> None:
        super().__init__()
        self.pool = pool
        self.reduce = nn.functional.avg_pool2d if kind == "avg" else nn.functional.max_pool2d
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        nn.init.xavier_uniform_(self.conv1.weight)
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return self.reduce(x, self.pool) if self.pool > 1 else x

    def fold(self) -> None:
        """Fold each BatchNorm into its convolution, channels last, for faster inference with oneDNN."""
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2")):
            folded = fuse_conv_bn_eval(getattr(self, conv), getattr(self, norm))
            setattr(self, conv, folded.to(memory_format=torch.channels_last))
            setattr(self, norm, nn.Identity())
