"""CNN14 and CNN9: sizes of the papers, pooling rules by hand, fusion only where a clip is longer."""

from __future__ import annotations

import pytest
import torch

from aural.encoders.cnn9 import Cnn9, Cnn9Config
from aural.encoders.cnn14 import Cnn14, Cnn14Config


def test_cnn14_has_the_size_of_the_paper() -> None:
    with torch.device("meta"):
        model = Cnn14(Cnn14Config())
    # Kong et al. (2020), table XIII: 80.8 M parameters with the 527-class layer.
    assert sum(p.numel() for p in model.parameters()) + 527 * 2049 == pytest.approx(80.8e6, rel=0.002)


def test_cnn14_pools_mean_plus_max() -> None:
    torch.manual_seed(0)
    model = Cnn14(Cnn14Config(out_dim=8)).eval()
    maps: list[torch.Tensor] = []
    model.conv_block6.register_forward_hook(lambda _m, _i, out: maps.append(out))
    with torch.inference_mode():
        pooled = model(torch.randn(2, 96, 64)).pooled
        x = maps[0].mean(3)
        torch.testing.assert_close(pooled, model.fc1(x.amax(2) + x.mean(2)).relu())


def test_cnn14_fusion_changes_only_the_longer_clips() -> None:
    torch.manual_seed(0)
    model = Cnn14(Cnn14Config(out_dim=8, fusion=True)).eval()
    mel = torch.randn(2, 4, 200, 64)
    with torch.inference_mode():
        plain = model(mel, torch.tensor([False, False])).pooled
        fused = model(mel, torch.tensor([True, False])).pooled
    assert not torch.equal(fused[0], plain[0])
    torch.testing.assert_close(fused[1], plain[1])


def test_cnn9_pools_mean_over_frequency_and_max_over_time() -> None:
    torch.manual_seed(0)
    model = Cnn9(Cnn9Config(n_mels=32, width=2)).eval()
    maps: list[torch.Tensor] = []
    model.conv_block4.register_forward_hook(lambda _m, _i, out: maps.append(out))
    with torch.inference_mode():
        pooled, tokens, *_ = model(torch.randn(2, 80, 32))
    torch.testing.assert_close(tokens, maps[0].mean(3).transpose(1, 2))
    torch.testing.assert_close(pooled, maps[0].mean(3).amax(2))
    assert [name for name, _ in model.named_children()] == [f"conv_block{i}" for i in range(1, 5)]
