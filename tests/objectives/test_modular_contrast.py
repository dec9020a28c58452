from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives import HardNegatives, HardNegativesConfig, InfoNCE, ModularContrast


def draw(captions: int, hard: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio, positive, false = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((3, 4), (3, captions, 4), (3, hard, 4))
    )
    given = {"audio_emb": audio, "positive_text_emb": positive, "hard_text_emb": false}
    masks = {"positive_text_mask": torch.ones(3, captions), "hard_text_mask": torch.ones(3, hard)}
    return given | masks | {"logit_scale": torch.tensor(2.0, dtype=torch.float64)}


def test_by_hand() -> None:
    """Clip 0 has two captions with the logits 1 and 0, clip 1 one with 1; one false caption with 0 for clip 0."""
    unit = torch.eye(2, dtype=torch.float64)
    given = {
        "audio_emb": unit,
        "positive_text_emb": torch.stack([unit, unit[[1, 0]]]),
        "positive_text_mask": torch.tensor([[1, 1], [1, 0]]),
        "hard_text_emb": unit[[1, 1]][:, None],
        "hard_text_mask": torch.tensor([[1], [0]]),
        "logit_scale": torch.tensor(1.0),
    }
    e = math.e
    first = e + 1 + 1 + 1  # own captions, false caption, full caption of the other clip
    audio = (-(math.log(e / first) + math.log(1 / first)) / 2 - math.log(e / (e + 1))) / 2
    text = -(math.log(e / (e + 1)) + math.log(1 / (1 + e)) + math.log(e / (e + 1))) / 3
    scalars = ModularContrast()(given)
    assert float(scalars["audio_to_text"]) == pytest.approx(audio)
    assert float(scalars["text_to_audio"]) == pytest.approx(text)


def test_with_one_caption_it_is_hard_negatives_and_without_false_ones_info_nce() -> None:
    given = draw(1)
    pair = {**given, "text_emb": given["positive_text_emb"][:, 0]}
    torch.testing.assert_close(ModularContrast()(given)["loss"], HardNegatives(HardNegativesConfig())(pair)["loss"])
    none = {**given, "hard_text_mask": torch.zeros(3, 2)}
    torch.testing.assert_close(ModularContrast()(none)["loss"], InfoNCE()(pair)["loss"])


def test_masked_captions_are_as_if_not_there() -> None:
    given = draw(3)
    short = {**given, "positive_text_emb": given["positive_text_emb"][:, :2], "positive_text_mask": torch.ones(3, 2)}
    masked = {**given, "positive_text_mask": torch.tensor([[1, 1, 0]] * 3)}
    torch.testing.assert_close(ModularContrast()(masked)["loss"], ModularContrast()(short)["loss"])


def test_gradcheck() -> None:
    given = draw(2)
    names = ("audio_emb", "positive_text_emb", "hard_text_emb")
    leaves = tuple(given[name].clone().requires_grad_() for name in names)
    objective = ModularContrast()
    assert torch.autograd.gradcheck(lambda *t: objective(given | dict(zip(names, t, strict=True)))["loss"], leaves)


def test_a_clip_without_its_full_caption_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs its full caption"):
        ModularContrast()({**draw(2), "positive_text_mask": torch.tensor([[0, 1]] * 3)})
