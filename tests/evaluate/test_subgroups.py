from __future__ import annotations

import numpy as np
import pytest

from aural.evaluate.audit.subgroups import weakest_subgroups


def planted(seed: int, drop: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    facts = {"language": rng.choice(list("abcde"), 600), "sex": rng.choice(["f", "m"], 600)}
    weak = (facts["language"] == "c") & (facts["sex"] == "f")
    return facts, (rng.random(600) < 0.9 - drop * weak).astype(np.float64)


def test_a_planted_combination_is_first() -> None:
    facts, correct = planted(0, 0.5)
    first = weakest_subgroups(facts, correct)[0]
    assert first.conditions == {"language": "c", "sex": "f"}
    inside = first.contains(facts)
    assert first.items == inside.sum()
    assert first.score == pytest.approx(correct[inside].mean())
    assert first.divergence == pytest.approx(correct[inside].mean() - correct.mean())


def test_z_is_welchs_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    facts, correct = planted(1, 0.3)
    for one in weakest_subgroups(facts, correct):
        inside = one.contains(facts)
        assert one.z == pytest.approx(stats.ttest_ind(correct[inside], correct[~inside], equal_var=False).statistic)
        assert one.divergence < 0


def test_without_a_difference_few_groups_are_far_off() -> None:
    below = [weakest_subgroups(*planted(seed, 0.0))[0].z < -3.5 for seed in range(10)]
    assert sum(below) <= 1


def test_small_groups_are_not_named() -> None:
    facts, correct = planted(0, 0.5)
    assert all(one.items >= 100 for one in weakest_subgroups(facts, correct, fewest=100))
