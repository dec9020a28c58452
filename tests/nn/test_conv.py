"""The block with its BatchNorm folded equals the block as it is trained."""

from __future__ import annotations

import pytest
import torch

from aural.nn.conv import ConvBlock


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_folded_equals_whole(kind: str) -> None:
    block = ConvBlock(3, 5, 2, kind).eval().requires_grad_(False)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for norm in (block.bn1, block.bn2):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    x = torch.randn(2, 3, 16, 8, generator=generator)
    whole = block(x)
    block.fold()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in block.modules())
    assert torch.allclose(block(x), whole, atol=1e-5)
    assert float(whole.abs().max()) > 0.1
