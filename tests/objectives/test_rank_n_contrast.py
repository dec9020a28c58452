from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from aural.core.errors import ConfigError
from aural.objectives import InfoNCE, RankNContrast, RankNContrastConfig


def draw(items: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    audio, text = (torch.randn(items, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    values = torch.randint(-2, 3, (items, 2), generator=generator).double()  # integers, so that ties occur
    return {
        "audio_emb": normalize(audio, dim=1),
        "text_emb": normalize(text, dim=1),
        "values": values,
        "logit_scale": torch.tensor(3.0).double(),
    }


def by_loops(logits: Tensor, distance: Tensor, *, skip_diagonal: bool) -> float:
    """Equations 1 and 2 of the paper."""
    terms = []
    for i in range(len(logits)):
        others = [k for k in range(logits.shape[1]) if not (skip_diagonal and k == i)]
        for j in others:
            total = sum(math.exp(logits[i, k]) for k in others if distance[i, k] >= distance[i, j])
            terms.append(math.log(total) - float(logits[i, j]))
    return sum(terms) / len(terms)


def test_all_views_equal_the_equations_by_loops() -> None:
    given = draw()
    views = torch.cat([given["audio_emb"], given["text_emb"]])
    labels = given["values"].repeat(2, 1)
    distance = torch.cdist(labels, labels, p=1)
    wanted = by_loops(3.0 * views @ views.T, distance, skip_diagonal=True)
    assert float(RankNContrast()(given)["loss"]) == pytest.approx(wanted)


def test_across_modalities_equals_the_equations_by_loops() -> None:
    given = draw()
    logits, distance = (
        3.0 * given["audio_emb"] @ given["text_emb"].T,
        torch.cdist(given["values"], given["values"], p=1),
    )
    scalars = RankNContrast(RankNContrastConfig(pairs="across"))(given)
    forth, back = (by_loops(one, distance, skip_diagonal=False) for one in (logits, logits.T))
    assert float(scalars["audio_to_text"]) == pytest.approx(forth)
    assert float(scalars["text_to_audio"]) == pytest.approx(back)
    assert float(scalars["loss"]) == pytest.approx((forth + back) / 2)


@pytest.mark.parametrize(("temperature", "golden"), [(2.0, 1.7803331168712169), (0.5, 2.011241618716045)])
def test_equals_the_reference_implementation(temperature: float, golden: float) -> None:
    """Golden values: loss.py of github.com/kaiwenzha/Rank-N-Contrast (commit 6239bdf), called with these tensors in
    float64."""
    i = torch.arange(6, dtype=torch.float64)
    first = torch.stack([torch.cos(0.9 * i), torch.sin(0.9 * i), 0.1 * i], 1)
    second = torch.stack([torch.cos(1.3 * i + 0.2), torch.sin(1.3 * i + 0.2), -0.2 * i], 1)
    values = torch.tensor([[0.0, 1, 1, 2, -1, 0.5], [0.3, 0.3, -1, 0, 0.5, 0]], dtype=torch.float64).T
    given = {"audio_emb": first, "text_emb": second, "values": values}
    objective = RankNContrast(RankNContrastConfig(similarity="distance"))
    scale = torch.tensor(1 / temperature, dtype=torch.float64)
    assert float(objective(given | {"logit_scale": scale})["loss"]) == pytest.approx(golden, abs=1e-9)


def test_by_hand_two_pairs() -> None:
    """Anchor 0 against its caption (cosine 1) and the other (0): log(1 + 1/e); the farthest one against itself: 0."""
    eye = torch.eye(2)
    given = {
        "audio_emb": eye,
        "text_emb": eye,
        "values": torch.tensor([[0.0], [1.0]]),
        "logit_scale": torch.tensor(1.0),
    }
    loss = RankNContrast(RankNContrastConfig(pairs="across"))(given)["loss"]
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)) / 2)


def test_equal_values_everywhere_is_a_flat_softmax() -> None:
    """Without ranks every candidate is contrasted with all of them: log of their number for equal embeddings."""
    given = draw() | {"values": torch.zeros(6, 1), "audio_emb": torch.ones(6, 4) / 2, "text_emb": torch.ones(6, 4) / 2}
    assert float(RankNContrast()(given)["loss"]) == pytest.approx(math.log(11))


def test_embeddings_in_order_score_better_than_shuffled_ones() -> None:
    angle = torch.linspace(0, math.pi / 2, 8, dtype=torch.float64)
    emb = torch.stack([angle.cos(), angle.sin()], 1)
    given = {"values": angle[:, None], "logit_scale": torch.tensor(10.0).double()}
    order = torch.tensor([3, 6, 1, 7, 0, 4, 2, 5])
    ordered = RankNContrast()(given | {"audio_emb": emb, "text_emb": emb})["loss"]
    shuffled = RankNContrast()(given | {"audio_emb": emb[order], "text_emb": emb[order]})["loss"]
    pairs_only = InfoNCE()(given | {"audio_emb": emb[order], "text_emb": emb[order]})["loss"]
    assert ordered < shuffled
    assert pairs_only == pytest.approx(float(InfoNCE()(given | {"audio_emb": emb, "text_emb": emb})["loss"]))


@pytest.mark.parametrize("pairs", ["all", "across"])
@pytest.mark.parametrize("similarity", ["cosine", "distance"])
def test_gradcheck(pairs: str, similarity: str) -> None:
    given = draw(4)
    objective = RankNContrast(RankNContrastConfig.parse({"pairs": pairs, "similarity": similarity}, "test"))
    leaf = given["audio_emb"].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: objective(given | {"audio_emb": x})["loss"], (leaf,))


def test_equal_rows_have_a_finite_gradient() -> None:
    given = draw(3)
    leaf = given["text_emb"].clone().requires_grad_()
    RankNContrast(RankNContrastConfig(similarity="distance"))(given | {"audio_emb": leaf, "text_emb": leaf})[
        "loss"
    ].backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()


def test_values_of_another_length_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"values \(3, 1\) must be \(B, D\) continuous labels of 6 clips"):
        RankNContrast()(draw() | {"values": torch.zeros(3, 1)})
