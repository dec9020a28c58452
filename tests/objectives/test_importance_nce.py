from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from aural.objectives import ImportanceNCE, ImportanceNCEConfig, InfoNCE


def draw(items: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio, text = (torch.randn(items, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    return {"audio_emb": normalize(audio), "text_emb": normalize(text), "logit_scale": torch.tensor(5.0).double()}


def reference(given: dict[str, Tensor], sharpness: float, positive: float) -> float:
    """Equations 4 to 6 of the paper by loops."""
    logits = (given["logit_scale"] * given["audio_emb"] @ given["text_emb"].T).tolist()
    total, count = 0.0, len(logits)
    for rows in (logits, [list(column) for column in zip(*logits, strict=True)]):
        for i, row in enumerate(rows):
            sharp = {j: math.exp(sharpness * row[j]) for j in range(count) if j != i}
            weight = {j: (count - 1) * value / sum(sharp.values()) for j, value in sharp.items()}
            negatives = sum(weight[j] * math.exp(row[j]) for j in weight)
            total -= math.log(math.exp(row[i]) / (positive * math.exp(row[i]) + negatives)) / (2 * count)
    return total


@pytest.mark.parametrize(("sharpness", "positive"), [(0.5, 1.0), (1.5, 0.7)])
def test_it_is_the_formula(sharpness: float, positive: float) -> None:
    given = draw()
    objective = ImportanceNCE(ImportanceNCEConfig(sharpness=sharpness, positive=positive))
    assert float(objective(given)["loss"]) == pytest.approx(reference(given, sharpness, positive))


def test_without_sharpness_it_is_info_nce() -> None:
    given = draw()
    flat = ImportanceNCE(ImportanceNCEConfig(sharpness=0))(given)
    for name, value in InfoNCE()(given).items():
        torch.testing.assert_close(flat[name], value)


def test_a_harder_negative_pulls_more_with_sharpness() -> None:
    """One anchor with an easy and a hard negative: the ratio of their gradients grows by exp(b (l_hard - l_easy))."""
    ratios = []
    for sharpness in (0.0, 1.0):
        text = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0, 0, 1]], dtype=torch.float64)
        audio = torch.eye(3, dtype=torch.float64)[[0, 1, 2]].requires_grad_()
        given = {"audio_emb": audio, "text_emb": text, "logit_scale": torch.tensor(1.0).double()}
        logits = (audio @ text.T).detach()
        loss = ImportanceNCE(ImportanceNCEConfig(sharpness=sharpness))(given)["loss"]
        (gradient,) = torch.autograd.grad(loss, audio)
        ratios.append(float(gradient[0, 1] / gradient[0, 2]))
    assert float(logits[0, 1] - logits[0, 2]) == pytest.approx(0.8)
    assert ratios[1] > 1.2 * ratios[0]


def test_a_single_pair_has_no_negative() -> None:
    assert float(ImportanceNCE()(draw(1))["loss"]) == pytest.approx(0, abs=1e-12)
