from __future__ import annotations

import pytest
import torch

from aural.encoders.masked_duo import MaskedDuo, PatchPredictor, patch_values
from aural.encoders.vit import Vit, VitConfig

CONFIG = VitConfig(
    n_mels=8, patch_frames=4, patch_mels=4, stride_frames=4, stride_mels=4, dim=8, depth=1, heads=2, drop_path=0.0,
    max_frames=16,
)  # fmt: skip


def parts() -> tuple[Vit, MaskedDuo, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    encoder = Vit(CONFIG)
    visible, masked = torch.tensor([[0, 2, 5], [1, 3, 4]]), torch.tensor([[1, 3, 4, 6, 7], [0, 2, 5, 6, 7]])
    return encoder, MaskedDuo(encoder, 8), torch.randn(2, 16, 8), visible, masked


def test_the_prediction_does_not_depend_on_masked_patches_and_the_target_not_on_visible_ones() -> None:
    encoder, duo, mel, visible, masked = parts()
    other = mel.clone()
    other[0, 4:8, :4] += 1  # patch 2 of clip 0, visible
    with torch.no_grad():
        _, features = duo(encoder, mel, visible, masked)
        _, changed = duo(encoder, other, visible, masked)
        target, same = (duo.teacher.encode_visible(one, masked) for one in (mel, other))
    assert not torch.allclose(features[0], changed[0])
    torch.testing.assert_close(features[1], changed[1])
    torch.testing.assert_close(target, same)


def test_only_the_student_learns_and_the_teacher_follows_it() -> None:
    encoder, duo, mel, visible, masked = parts()
    loss, _ = duo(encoder, mel, visible, masked)
    assert 0 < float(loss.detach()) < 4
    loss.backward()
    assert encoder.patch_embed.weight.grad is not None
    assert all(p.grad is None for p in duo.teacher.parameters())
    with torch.no_grad():
        encoder.norm.weight += 1
        before = duo.teacher.norm.weight.clone()
        duo.average(encoder, 0.75)
    torch.testing.assert_close(duo.teacher.norm.weight, before + 0.25)


def test_a_perfect_prediction_has_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, duo, mel, visible, masked = parts()
    with torch.no_grad():
        target = duo.teacher.encode_visible(mel, masked)[:, 1:]
        standard = torch.nn.functional.layer_norm(target, target.shape[-1:])
    monkeypatch.setattr(duo.predictor, "forward", lambda *given: 3 * standard)
    assert float(duo(encoder, mel, visible, masked)[0].detach()) == pytest.approx(0, abs=1e-5)


def test_patch_values_follow_the_order_of_the_encoder_and_are_standardized() -> None:
    encoder, _, mel, _, _ = parts()
    values = patch_values(mel, encoder)
    assert values.shape == (2, 8, 16)
    tile = mel[1, 4:8, 4:8].flatten()  # time 1, frequency 1: patch 3
    torch.testing.assert_close(values[1, 3], (tile - tile.mean()) / (tile.var(unbiased=False) + 1e-5).sqrt())
    order = encoder.patch_embed(mel[:, None])[1, :, 1, 1]
    flat = encoder.patch_embed(mel[:, None]).permute(0, 2, 3, 1).flatten(1, 2)[1, 3]
    torch.testing.assert_close(order, flat)


def test_the_predictor_knows_positions() -> None:
    torch.manual_seed(0)
    predictor = PatchPredictor(6, 8, 5)
    tokens = torch.randn(1, 2, 8)
    out = predictor(tokens, torch.tensor([[0, 1]]), torch.tensor([[2, 3]]))
    swapped = predictor(tokens, torch.tensor([[0, 1]]), torch.tensor([[3, 2]]))
    assert out.shape == (1, 2, 5)
    torch.testing.assert_close(out.flip(1), swapped)
