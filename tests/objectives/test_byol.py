from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from aural.core.errors import ConfigError
from aural.objectives import Byol, ByolConfig, Regress


def draw() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = ("predicted_a", "predicted_b", "target_a", "target_b")
    return {name: torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True) for name in names}


def test_one_direction_is_twice_regress_of_unit_rows() -> None:
    given = draw()
    loss = Byol(ByolConfig(symmetric=False))(given)["loss"]
    unit = {"audio_emb": normalize(given["predicted_a"]), "teacher_audio_emb": normalize(given["target_b"])}
    torch.testing.assert_close(loss, 2 * Regress()(unit)["loss"])


def test_both_directions_sum_and_targets_get_no_gradient() -> None:
    given = draw()
    swapped = {name[:-1] + ("b" if name.endswith("a") else "a"): value for name, value in given.items()}
    one_way = Byol(ByolConfig(symmetric=False))
    loss = Byol()(given)["loss"]
    torch.testing.assert_close(loss, one_way(given)["loss"] + one_way(swapped)["loss"])
    loss.backward()
    assert given["target_a"].grad is None
    assert given["target_b"].grad is None
    assert given["predicted_a"].grad is not None


def test_bounds_and_length_of_rows() -> None:
    given = draw()
    same = given | {"target_b": 5 * given["predicted_a"], "target_a": 0.1 * given["predicted_b"]}
    opposite = given | {"target_b": -given["predicted_a"], "target_a": -given["predicted_b"]}
    assert float(Byol()(same)["loss"].detach()) == pytest.approx(0, abs=1e-12)
    assert float(Byol()(opposite)["loss"].detach()) == pytest.approx(8)


def test_spread_reports_collapse() -> None:
    """0 for equal targets, about 1 for directions drawn evenly."""
    one_way = Byol(ByolConfig(symmetric=False))
    rows = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    even = one_way({"predicted_a": rows, "target_b": rows})["spread"]
    collapsed = one_way({"predicted_a": rows, "target_b": rows[:1].expand_as(rows)})["spread"]
    assert float(even) == pytest.approx(1, abs=0.01)
    assert float(collapsed) < 1e-5


def test_different_shapes_are_refused() -> None:
    given = draw() | {"target_b": torch.zeros(6, 5)}
    with pytest.raises(ConfigError, match=r"predicted_a \(6, 4\) and target_b \(6, 5\)"):
        Byol()(given)
