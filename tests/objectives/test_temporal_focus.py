from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import TemporalFocus, TemporalFocusConfig


def two_clips() -> dict[str, Tensor]:
    """Logits of the true captions 1 and 1; of the false ones (1, 0) for clip 0 and (0, 0) for clip 1."""
    unit = torch.eye(3, dtype=torch.float64)
    hard = torch.stack([unit[[0, 2]], unit[[2, 2]]])
    return {"audio_emb": unit[:2], "text_emb": unit[:2], "hard_text_emb": hard, "logit_scale": torch.tensor(1.0)}


def test_by_hand() -> None:
    e = math.e
    wanted = -(math.log(e / (2 * e + 1)) + math.log(e / (e + 2))) / 2
    assert float(TemporalFocus()(two_clips())["loss"]) == pytest.approx(wanted)


def test_clips_without_false_captions_do_not_count() -> None:
    masked = TemporalFocus(TemporalFocusConfig(masked=True))
    mask = torch.tensor([[False, True], [False, False]])
    wanted = -math.log(math.e / (math.e + 1))
    assert float(masked({**two_clips(), "hard_text_mask": mask})["loss"]) == pytest.approx(wanted)
    assert float(masked({**two_clips(), "hard_text_mask": torch.zeros(2, 2)})["loss"]) == 0


def test_masked_gradients_are_finite() -> None:
    """Without false captions the logits contain -inf, whose gradient must not be NaN."""
    given = two_clips()
    given["audio_emb"] = given["audio_emb"].clone().requires_grad_()
    mask = torch.tensor([[True, False], [False, False]])
    TemporalFocus(TemporalFocusConfig(masked=True))({**given, "hard_text_mask": mask})["loss"].backward()
    gradient = given["audio_emb"].grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def test_other_clips_of_the_batch_do_not_matter() -> None:
    given = two_clips()
    alone = {name: value[:1] if value.ndim else value for name, value in given.items()}
    swapped = {**given, "text_emb": given["text_emb"].clone()}
    swapped["text_emb"][1] = given["text_emb"][0]
    first = TemporalFocus()(alone)["loss"]
    assert float(TemporalFocus()(given)["loss"]) * 2 - float(first) == pytest.approx(math.log((math.e + 2) / math.e))
    assert float(TemporalFocus()(swapped)["loss"]) * 2 - float(first) == pytest.approx(math.log(3))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"hard_text_emb \(2, 3\) must be"):
        TemporalFocus()({**two_clips(), "hard_text_emb": torch.zeros(2, 3)})
