"""Attentional feature fusion of two feature maps. Dai et al. (2021), "Attentional Feature Fusion", section 3.2."""

from __future__ import annotations

from torch import Tensor, nn


def _squeeze(channels: int, inner: int, pooled: bool) -> nn.Sequential:
    pool = [nn.AdaptiveAvgPool2d(1)] if pooled else []
    return nn.Sequential(
        *pool,
        nn.Conv2d(channels, inner, 1),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Conv2d(inner, channels, 1),
        nn.BatchNorm2d(channels),
    )


class AttentionalFusion(nn.Module):
    """Fuses maps x and y (B, C, H, W): 2 g x + 2 (1 - g) y with g = sigmoid(local(x + y) + global(x + y))."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        inner = channels // reduction
        self.local_att = _squeeze(channels, inner, pooled=False)
        self.global_att = _squeeze(channels, inner, pooled=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total = x + y
        gate = (self.local_att(total) + self.global_att(total)).sigmoid()
        return 2 * x * gate + 2 * y * (1 - gate)
