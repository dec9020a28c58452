"""MobileNet: padding by hand, and the network whose weights are stored channels last."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from aural.encoders.mobilenet import Mobilenet, MobilenetConfig, Same


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (8, 5)])
def test_a_layer_pads_as_tensorflow_does(stride: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = Same(4, 4, stride=stride, groups=4).requires_grad_(False)
    x = torch.randn(2, 4, *shape)
    totals = [max((-(-size // stride) - 1) * stride + 3 - size, 0) for size in shape]
    pads = [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
    hand = functional.conv2d(functional.pad(x, pads), layer.weight, layer.bias, stride, groups=4).clamp(0, 6)
    before = x.clone()
    assert layer(x).shape[2:] == tuple(-(-size // stride) for size in shape)
    assert torch.allclose(layer(x), hand, atol=1e-6)
    assert torch.equal(x, before)


def test_folded_equals_unfolded() -> None:
    torch.manual_seed(0)
    network = Mobilenet(MobilenetConfig(blocks=8, patch_frames=48, hop_frames=50)).eval().requires_grad_(False)
    for layer in network.layers.values():
        layer.weight.mul_(3.0)  # random weights let the signal fade
    mel = 4 * torch.randn(2, 100, 64)
    before = network(mel).pooled
    network.fold()
    assert network.layers["stem"].weight.is_contiguous(memory_format=torch.channels_last)
    assert network.layers["pointwise7"].weight.stride(1) == 1
    assert float(before.std()) > 1e-2
    assert torch.allclose(network(mel).pooled, before, atol=1e-5)
