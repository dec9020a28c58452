from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from aural.core.errors import ConfigError
from aural.objectives import SupCon, SupConConfig


def draw(items: int = 6) -> dict[str, Tensor]:
    emb = torch.randn(items, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    group = torch.arange(items) // 2
    return {"audio_emb": normalize(emb, dim=1), "audio_group": group, "logit_scale": torch.tensor(3.0).double()}


def reference(given: dict[str, Tensor]) -> float:
    """Equation 2 of the paper by loops."""
    emb, group, scale = given["audio_emb"], given["audio_group"], given["logit_scale"]
    losses = []
    for i in range(len(emb)):
        others = [k for k in range(len(emb)) if k != i]
        total = sum(math.exp(scale * emb[i] @ emb[k]) for k in others)
        positives = [k for k in others if group[k] == group[i]]
        terms = [math.log(math.exp(scale * emb[i] @ emb[k]) / total) for k in positives]
        losses += [-sum(terms) / len(terms)] if terms else []
    return sum(losses) / len(losses)


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2]])
def test_equals_the_equation_by_loops(groups: list[int]) -> None:
    given = draw() | {"audio_group": torch.tensor(groups)}
    assert float(SupCon()(given)["loss"]) == pytest.approx(reference(given))


def test_two_views_per_item_is_nt_xent() -> None:
    """Pairs (0, 1), (2, 3), ...: cross entropy of each row to its partner, without the diagonal."""
    given = draw()
    logits = (3.0 * given["audio_emb"] @ given["audio_emb"].T).fill_diagonal_(-math.inf)
    partner = torch.arange(6) ^ 1
    for combine in ("mean", "any"):
        scalars = SupCon(SupConConfig.parse({"positives": combine}, "test"))(given)
        torch.testing.assert_close(scalars["loss"], cross_entropy(logits, partner))
        assert scalars["anchors"] == 1


def test_no_positive_at_all_is_zero_with_finite_gradient() -> None:
    for items in (1, 4):
        given = draw(items) | {"audio_group": torch.arange(items)}
        emb = given["audio_emb"].clone().requires_grad_()
        scalars = SupCon()(given | {"audio_emb": emb})
        scalars["loss"].backward()
        assert scalars["loss"] == 0
        assert scalars["anchors"] == 0
        assert emb.grad is not None
        assert torch.isfinite(emb.grad).all()


def test_gradcheck() -> None:
    given = draw()
    for combine in ("mean", "any"):
        objective = SupCon(SupConConfig.parse({"positives": combine}, "test"))
        leaf = given["audio_emb"].clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, o=objective: o(given | {"audio_emb": x})["loss"], (leaf,))


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"audio_group \(3,\) must hold one label per row of audio_emb \(6, 4\)"):
        SupCon()(draw() | {"audio_group": torch.arange(3)})
