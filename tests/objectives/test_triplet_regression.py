from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from aural.core.errors import ConfigError
from aural.objectives import TripletRegression, TripletRegressionConfig


def draw() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    emb = torch.randn(7, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    return {"audio_emb": emb, "values": torch.tensor([[0.0], [1], [1], [3], [4], [4], [5]], dtype=torch.float64)}


@pytest.mark.parametrize("margin", ["adaptive", "fixed"])
def test_it_is_the_mean_over_active_triplets(margin: str) -> None:
    given = draw()
    emb, values = given["audio_emb"].detach().numpy(), given["values"].numpy()[:, 0]
    terms, triplets = [], 0
    for i, j, k in permutations(range(7), 3):
        near, far = abs(values[i] - values[j]), abs(values[i] - values[k])
        if near < far:
            triplets += 1
            size = 0.5 * (far - near) / 5 if margin == "adaptive" else 0.5
            terms.append(np.linalg.norm(emb[i] - emb[j]) - np.linalg.norm(emb[i] - emb[k]) + size)
    active = [term for term in terms if term > 0]
    objective = TripletRegression(TripletRegressionConfig(margin=margin, size=0.5))  # type: ignore[arg-type]
    scalars = objective(given)
    assert float(scalars["loss"].detach()) == pytest.approx(np.mean(active))
    assert float(scalars["active"]) == pytest.approx(len(active) / triplets)


def test_a_line_in_the_order_of_its_labels_has_no_loss_and_gradients_are_finite() -> None:
    line = torch.arange(5.0, dtype=torch.float64)[:, None]
    given = {"audio_emb": 10 * line, "values": line}
    assert float(TripletRegression()(given)["loss"]) == 0
    same = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)
    TripletRegression()({"audio_emb": same, "values": line})["loss"].backward()
    assert torch.isfinite(same.grad).all()  # type: ignore[arg-type]


def test_equal_labels_give_no_triplet_and_wrong_shapes_are_refused() -> None:
    given = draw()
    assert float(TripletRegression()(given | {"values": torch.ones(7, 1)})["loss"].detach()) == 0
    with pytest.raises(ConfigError, match=r"values \(7,\) must be \(B, D\) labels of audio_emb \(7, 3\)"):
        TripletRegression()(given | {"values": torch.ones(7)})
