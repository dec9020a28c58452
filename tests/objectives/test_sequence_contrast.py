"""The losses over sequences: `sequence_contrast` and `segment_contrast`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import (
    InfoNCE,
    SegmentContrast,
    SegmentContrastConfig,
    SequenceContrast,
    SequenceContrastConfig,
)


def orders() -> dict[str, Tensor]:
    """Two sounds of the same two events in both orders, and their phrases."""
    unit = torch.eye(2)
    both = torch.stack([unit, unit.flip(0)])
    lengths = torch.tensor([2, 2])
    return {"audio_seq": both, "audio_length": lengths, "text_seq": both, "text_length": lengths}


@pytest.mark.parametrize(("distance", "apart"), [("interpolated", 2**0.5), ("warped", 2 * 2**0.5 / 4)])
def test_orders_by_hand(distance: str, apart: float) -> None:
    """Equal orders have the distance 0, other ones sqrt 2 per place, or warped two mismatches over both lengths."""
    objective = SequenceContrast(SequenceContrastConfig.model_validate({"distance": distance, "points": 2}))
    found = objective({**orders(), "logit_scale": torch.tensor(3.0)})["loss"]
    assert float(found) == pytest.approx(math.log(1 + math.exp(-3 * apart)), rel=1e-5)


def test_the_mean_over_time_cannot_tell_these_orders_apart() -> None:
    given = orders()
    means = {"audio_emb": given["audio_seq"].mean(1), "text_emb": given["text_seq"].mean(1)}
    assert float(InfoNCE()({**means, "logit_scale": torch.tensor(3.0)})["loss"]) == pytest.approx(math.log(2))


def test_sequence_gradients_are_finite() -> None:
    given = orders()
    given["audio_seq"] = given["audio_seq"].clone().requires_grad_()
    given["text_seq"] = given["text_seq"] + 0.1
    for distance in ("interpolated", "warped"):
        objective = SequenceContrast(SequenceContrastConfig.model_validate({"distance": distance}))
        (gradient,) = torch.autograd.grad(
            objective({**given, "logit_scale": torch.tensor(1.0)})["loss"], given["audio_seq"]
        )
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


def long_pair() -> dict[str, Tensor]:
    """Sounds of two segments each; text 0 describes the first segment of sound 0, text 1 the second one of sound 1."""
    unit = torch.eye(4)
    segments = torch.stack([unit[[0, 1]], unit[[2, 3]]])
    return {"segment_emb": segments, "sentence_emb": unit[[0, 3]][:, None], "sentence_mask": torch.ones(2, 1)}


def test_segments_by_hand() -> None:
    """Cosines (1, 0) within the pair, zeros outside; at temperature 1 the fused similarity is e / (e + 1)."""
    objective = SegmentContrast(SegmentContrastConfig(temperature=1.0))
    found = objective({**long_pair(), "logit_scale": torch.tensor(2.0)})["loss"]
    fused = math.e / (math.e + 1)
    assert float(found) == pytest.approx(math.log(1 + math.exp(-2 * fused)), rel=1e-5)


def test_a_masked_sentence_is_as_if_not_there() -> None:
    given = {**long_pair(), "logit_scale": torch.tensor(2.0)}
    more = {**given, "sentence_emb": torch.cat([given["sentence_emb"], torch.ones(2, 1, 4) / 2], dim=1)}
    more["sentence_mask"] = torch.tensor([[1, 0], [1, 0]])
    torch.testing.assert_close(SegmentContrast()(more)["loss"], SegmentContrast()(given)["loss"])


def test_one_segment_and_one_sentence_are_info_nce() -> None:
    rows = torch.nn.functional.normalize(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), dim=2)
    scale = torch.tensor(4.0)
    single = {"segment_emb": rows[0][:, None], "sentence_emb": rows[1][:, None], "sentence_mask": torch.ones(3, 1)}
    wanted = InfoNCE()({"audio_emb": rows[0], "text_emb": rows[1], "logit_scale": scale})
    torch.testing.assert_close(SegmentContrast()({**single, "logit_scale": scale}), wanted)


@pytest.mark.parametrize(("objective", "given"), [(SequenceContrast(), orders()), (SegmentContrast(), long_pair())])
def test_other_numbers_of_sounds_and_texts_are_refused(objective: SequenceContrast, given: dict[str, Tensor]) -> None:
    name = next(name for name in ("text_seq", "sentence_emb") if name in given)
    with pytest.raises(ConfigError, match=r"\(1, "):
        objective({**given, name: given[name][:1], "logit_scale": torch.tensor(1.0)})
